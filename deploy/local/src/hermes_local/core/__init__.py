"""Decisions of the launcher: pure functions over values."""
