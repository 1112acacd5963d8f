"""Completion and retention."""
