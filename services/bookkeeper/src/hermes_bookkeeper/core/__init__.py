"""Decisions: what events mean for the tables, as values. No I/O, no clock."""
