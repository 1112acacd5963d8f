"""What the receiver does about one association, one C-STORE, one spool entry."""
