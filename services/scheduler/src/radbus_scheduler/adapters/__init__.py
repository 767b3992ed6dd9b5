"""The scheduler's records in MongoDB and its metrics."""
