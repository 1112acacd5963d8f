"""One module for each kind of message: load, decide, store, say."""
