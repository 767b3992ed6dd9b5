"""One connection that a proxy passes on: the client's half, the server's half, and how they end."""

from __future__ import annotations

import asyncio
import socket
import struct

from radbus_testing.tripwire import Tripwire, Way

_LINGER_NOT = struct.pack("ii", 1, 0)  # closing then resets the connection instead of ending it


class Link:
    """Writes towards both ends; what comes after an end is dropped."""

    def __init__(self) -> None:
        self.writers: dict[Way, asyncio.StreamWriter] = {}
        self.wire: Tripwire | None = None
        self._ended: set[Way] = set()

    def has_ended(self, way: Way) -> bool:
        """Say whether nothing more passes in a direction."""
        return way in self._ended

    async def write(self, way: Way, data: bytes) -> None:
        """Pass bytes on."""
        if data and not self.has_ended(way):
            self.writers[way].write(data)
            await self.writers[way].drain()

    def end(self, way: Way) -> None:
        """End one direction; the other one goes on."""
        if way in self.writers and not self.has_ended(way):
            self._ended.add(way)
            self.writers[way].write_eof()

    def close(self) -> None:
        """Let both ends have what is still to be sent."""
        for writer in self.writers.values():
            writer.close()

    def reset(self) -> None:
        """Drop everything, so that both ends see a connection reset; nothing happens when it was closed."""
        self._ended |= set(Way)
        for writer in self.writers.values():
            if not writer.transport.is_closing():
                connected = writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                writer.transport.abort()
