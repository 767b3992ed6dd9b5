"""How a worker talks to the stores, to Triton and to its own process pool."""
