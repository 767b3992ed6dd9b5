"""Bringing records of earlier releases to the present shape, beside services that go on (docs/decisions/0016)."""
