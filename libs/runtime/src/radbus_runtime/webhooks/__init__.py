"""Webhooks: whom to tell by HTTP, what is still to be told, and how a receiver knows that radbus says it."""
