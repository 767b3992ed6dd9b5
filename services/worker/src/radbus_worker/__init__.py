"""Loads a series, runs its machine and makes the outputs."""
