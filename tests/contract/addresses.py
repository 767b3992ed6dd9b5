"""Where a request goes: the one place that the tests of clients and contracts ask."""

from __future__ import annotations

import re
from typing import Final

from radbus_cli.local.stack import LocalStack

_SERVICE_OF: Final = (
    (r"/(upload|studies|v1/model/start)\b", "ingest"),
    (r"/api/v1/(storage|feedback|models/[^/]+/segmentation$)", "ingest"),
    (r"/(compute|use-cases|explain)\b", "router"),
    (r"/jobs\b", "scheduler"),
    (r"/", "results"),
)


def url(stack: LocalStack, path: str) -> str:
    """Return the address of a path."""
    service = next(name for pattern, name in _SERVICE_OF if re.match(pattern, path))
    return f"{stack.url(service)}{path}"
