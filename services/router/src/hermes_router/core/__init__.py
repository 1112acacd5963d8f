"""Decisions of the router: pure functions over values; no I/O, no clock, no randomness."""
