"""What ingest decides, without any I/O."""
