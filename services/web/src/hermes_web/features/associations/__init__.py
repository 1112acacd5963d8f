"""Associations: who came, and how it ended."""
