"""What radbus notes on a message that was not settled at once: the names of its headers."""

from __future__ import annotations

from typing import Final

RETRIES_HEADER: Final = "x-radbus-retries"
REASON_HEADER: Final = "x-radbus-reason"
QUEUE_HEADER: Final = "x-radbus-queue"
DIED_AT_HEADER: Final = "x-radbus-died-at"
REPLAYS_HEADER: Final = "x-radbus-replays"  # JSON: one entry for each time that an operator gave it another life
