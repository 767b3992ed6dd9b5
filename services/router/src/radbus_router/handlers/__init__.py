"""What the router does with each message and each request."""
