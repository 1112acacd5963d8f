"""Series: search, history and actions."""
