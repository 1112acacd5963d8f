"""News for pages that are open, and names for the palette."""
