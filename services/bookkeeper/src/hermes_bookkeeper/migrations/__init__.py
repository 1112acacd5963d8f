"""The migrations of the schema ledger."""
