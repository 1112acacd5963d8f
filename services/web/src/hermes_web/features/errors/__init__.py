"""Failed deliveries by their cause, and retrying all of one."""
