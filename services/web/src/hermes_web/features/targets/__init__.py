"""Targets: editing and testing."""
