"""The servers that the all-in-one brings along: NATS, PostgreSQL and an S3 object store."""
