"""Takes instances in, checks and stores them, and says when a series is complete."""
