"""What is done with each fact and each request."""
