"""What every configuration document has: ETag, revisions, restoring."""
