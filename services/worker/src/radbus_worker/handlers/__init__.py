"""What a worker does with an order, and what it does all the time."""
