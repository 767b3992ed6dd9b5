"""What a worker decides, without I/O."""
