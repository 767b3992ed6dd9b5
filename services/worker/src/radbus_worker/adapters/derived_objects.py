"""The objects of an attempt: put what was rendered, get what other tasks have made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from radbus_storage.objects import ObjectStore

from radbus_worker.adapters.rendering import RenderedFile
from radbus_worker.adapters.together import all_of
from radbus_worker.domain.claims import Claim

_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class DerivedObjects:
    """Stores an attempt's files under keys of their own."""

    objects: ObjectStore

    async def store(self, claim: Claim, files: Sequence[RenderedFile]) -> Mapping[str, tuple[str, ...]]:
        """Store files and return their keys by kind, in the given order."""
        await all_of((partial(self._put, claim, file) for file in files), at_a_time=_AT_A_TIME)
        keys: dict[str, tuple[str, ...]] = {}
        for file in files:
            keys[file.kind] = (*keys.get(file.kind, ()), claim.object_key(file.path.name))
        return keys

    async def get(self, keys: Sequence[str]) -> list[bytes]:
        """Read small objects whole, in the given order."""
        return await all_of((partial(self.objects.get, key) for key in keys), at_a_time=_AT_A_TIME)

    async def _put(self, claim: Claim, file: RenderedFile) -> None:
        with file.path.open("rb") as content:
            await self.objects.put(
                claim.object_key(file.path.name),
                content,
                size_bytes=file.path.stat().st_size,
                content_type=file.content_type,
            )
