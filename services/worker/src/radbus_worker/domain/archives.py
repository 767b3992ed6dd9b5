"""An archive of instances, by the names of its entries: a folder is a channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from radbus_worker.domain.channels import SINGLE


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One instance of an archive, by its place in the directory, and the channel that its name says."""

    index: int
    channel: str


def channel_of(name: str) -> str | None:
    """Return the channel that an entry's name says, or None where it can be no instance.

    It is the first folder, also where a backslash ends it; an entry without folder has none. Nothing else matters.
    """
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
    if not parts or path.endswith("/") or parts[0] == "__MACOSX" or parts[-1].startswith("."):
        return None
    return parts[0] if len(parts) > 1 else SINGLE


def by_channel(entries: Iterable[ArchiveEntry]) -> dict[str, list[int]]:
    """Arrange entries by channel, without regard to case; those without folder belong to the only one there is."""
    channels: dict[str, list[int]] = {}
    for entry in entries:
        channels.setdefault(entry.channel.casefold(), []).append(entry.index)
    named = channels.keys() - {SINGLE}
    if len(named) == 1 and SINGLE in channels:
        channels[next(iter(named))] += channels.pop(SINGLE)
    return channels
