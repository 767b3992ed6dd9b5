"""Retention: what is kept for how long, and the erasing of it, complete and resumable (docs/decisions/0012)."""
