"""One package per area of the interface: controllers, queries and templates."""
