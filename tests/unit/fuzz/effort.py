"""How long the fuzz tests try: a few examples, always the same, or as many new ones as `make fuzz` asks for."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

_ASKED: Final = os.environ.get("RADBUS_FUZZ_EXAMPLES")

fuzzed: Final = settings(
    max_examples=int(_ASKED or 25),
    derandomize=_ASKED is None,
    database=None,
    deadline=None,  # what hangs is ended by the test's own limit
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    print_blob=True,
)
