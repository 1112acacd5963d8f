"""The overview and what the fleet is doing."""
