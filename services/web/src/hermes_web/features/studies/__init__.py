"""Studies: what they wait for, what was decided, and actions."""
