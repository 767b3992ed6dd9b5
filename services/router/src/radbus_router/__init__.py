"""Chooses the use cases of a completed series."""
