"""Sources: who may send."""
