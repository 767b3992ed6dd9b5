"""The words that every output carries."""

from __future__ import annotations

from typing import Final

RESEARCH_USE_ONLY: Final = "Research use only. Not for diagnosis."
