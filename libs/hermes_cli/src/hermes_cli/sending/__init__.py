"""Sending files over C-STORE: what to send (:mod:`files`), and the sending itself (:mod:`sender`)."""
