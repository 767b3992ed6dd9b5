"""Decides what a client is told: what a series' standing is, and what a job's outcomes come to."""
