"""Where series come from, which rules take them, where they go."""
