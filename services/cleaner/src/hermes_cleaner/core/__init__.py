"""Decisions of the cleaner: pure functions over values; no I/O, no clock, no randomness."""
