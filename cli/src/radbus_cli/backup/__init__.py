"""Backup and restore of both stores (docs/decisions/0016)."""
