"""What waits for which target, for how long, and how fast it goes."""
