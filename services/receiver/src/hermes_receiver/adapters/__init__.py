"""The outside of the receiver: sockets, spool, metrics."""
