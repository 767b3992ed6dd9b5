"""Records inferences and serves them."""
