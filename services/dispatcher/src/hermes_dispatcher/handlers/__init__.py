"""One module per message: load, decide, store, say."""
