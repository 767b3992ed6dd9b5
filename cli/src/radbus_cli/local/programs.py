"""What the supervisor must know of one program, and in which order the kinds of programs start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path


class Phase(IntEnum):
    """When a program starts; the stack stops in the opposite order."""

    NAME_SERVER = 0
    SERVER = 1
    # Before the services, so that what they still answer while they end gets out.
    FRONT = 2
    SERVICE = 3


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised program: its command, its ports (the first is the one it is asked on), its readiness."""

    name: str
    phase: Phase
    command: tuple[str, ...]
    ports: tuple[int, ...]
    folder: Path
    is_ready: Callable[[], bool] = field(compare=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_wait_s: int = 15
