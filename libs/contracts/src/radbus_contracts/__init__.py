"""Events, commands and the topology of the bus."""
