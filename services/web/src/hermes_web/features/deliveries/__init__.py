"""Deliveries: lists, outcomes of every instance and actions."""
