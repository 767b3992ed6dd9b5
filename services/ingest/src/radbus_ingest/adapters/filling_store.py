"""The object store as what fills it: that it is full is told once more, to whoever decides what is let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol

from radbus_storage.errors import StoreFullError


class Objects(Protocol):
    """Where the bytes go."""

    async def put(self, key: str, data: bytes | BinaryIO, *, size_bytes: int, content_type: str = ...) -> None:
        """Store an object, or raise TransientError."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; none there is success."""
        ...


class FillingStore:
    """Puts and deletes objects, and notices when there is no room."""

    def __init__(self, objects: Objects, *, store_is_full: Callable[[], None]) -> None:
        self._objects = objects
        self._store_is_full = store_is_full

    async def put(
        self, key: str, data: bytes | BinaryIO, *, size_bytes: int, content_type: str = "application/octet-stream"
    ) -> None:
        """Store an object.

        Raises:
            TransientError: The store is away, or full.
        """
        try:
            await self._objects.put(key, data, size_bytes=size_bytes, content_type=content_type)
        except StoreFullError:
            self._store_is_full()
            raise

    async def delete(self, key: str) -> None:
        """Remove an object; none there is success."""
        await self._objects.delete(key)
