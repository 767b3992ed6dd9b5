"""What ingest does with each request, instance and quiet series."""
