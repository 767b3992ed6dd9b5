"""What every service needs to run: bus, settlement, outbox, logs, health, traces."""
