"""Decisions of the web service: pure functions over values."""
