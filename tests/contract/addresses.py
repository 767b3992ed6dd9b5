"""Where a request goes: the one place that the tests of clients and contracts ask."""

from __future__ import annotations

from radbus_cli.local.stack import LocalStack


def url(stack: LocalStack, path: str) -> str:
    """Return the address of a path."""
    return f"{stack.url('front')}{path}"
