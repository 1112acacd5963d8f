"""Decisions of the dispatcher: pure functions over values; clock and jitter are arguments."""
