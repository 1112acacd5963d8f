"""Decisions of the receiver: pure functions over values."""
