"""One module per outside thing: PostgreSQL, the bus, password hashing, targets, the HTTP server."""
