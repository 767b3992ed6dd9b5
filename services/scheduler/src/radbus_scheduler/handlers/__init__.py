"""What is done with each message, each request, and at each turn of a loop."""
