"""Changes of a data set on the way to a target: values in, values out. Runs in a process of its own (ADR 0016)."""
