"""Finding a place in the bytes that pass on one connection, so that a fault strikes there and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Way(StrEnum):
    """A direction on a connection."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


@dataclass(frozen=True, slots=True)
class Passing:
    """A byte pattern on its way, then so many bytes more; without either, the next byte whatever it is."""

    way: Way
    pattern: bytes = b""
    after_bytes: int = 0


@dataclass(slots=True)
class Tripwire:
    """Says where, on one connection, a sequence of passings has come to its end."""

    passings: Sequence[Passing]
    _tail: bytes = b""
    _left: int | None = field(default=None)

    def feed(self, way: Way, data: bytes) -> int | None:
        """Return how many of these bytes come before the end of the sequence, or None when it is not reached.

        The last pattern does not pass, but for what came of it in earlier bytes; `after_bytes` do.
        """
        position = 0
        while self.passings and self.passings[0].way is way and position < len(data):
            reached = self._found(self.passings[0], data, position)
            if reached is None:
                return None
            start, end = reached
            if len(self.passings) == 1:
                return start
            self.passings, self._tail, self._left = self.passings[1:], b"", None
            position = end
        return None

    def _found(self, passing: Passing, data: bytes, position: int) -> tuple[int, int] | None:
        """Return where the passing starts and ends within `data`."""
        if self._left is None:
            seen = self._tail + data[position:]
            index = seen.find(passing.pattern)
            if index < 0:
                self._tail = seen[-(len(passing.pattern) - 1) :] if len(passing.pattern) > 1 else b""
                return None
            start = position + index - len(self._tail)
            end = start + len(passing.pattern)
            if not passing.after_bytes:
                return max(position, start), end
            self._left, position = passing.after_bytes, end
        if len(data) - position < self._left:
            self._left -= len(data) - position
            return None
        end = position + self._left
        return end, end


def amqp_publish(exchange: str, routing_key: str) -> bytes:
    """Spell how a publish to an exchange begins (AMQP 0-9-1, basic.publish: class 60, method 40)."""
    return b"\x00\x3c\x00\x28\x00\x00" + _amqp_names(exchange, routing_key)


def amqp_delivery(exchange: str, routing_key: str) -> bytes:
    """Spell how a delivery to a consumer ends (basic.deliver: the names come last)."""
    return _amqp_names(exchange, routing_key)


AMQP_CONFIRM = b"\x00\x3c\x00\x50"
"""How a confirm of a publish begins (basic.ack: class 60, method 80, sent by the broker)."""
AMQP_ACK = AMQP_CONFIRM
"""How the acknowledgement of a delivery begins: the same method, sent by the consumer."""


def mongo_command(command: str, collection: str) -> bytes:
    """Spell how a command on a collection begins (a BSON string named by the command, its first element)."""
    return bson_text(command, collection)


def bson_text(name: str, value: str) -> bytes:
    """Spell an element of a document that is a string (BSON type 2)."""
    spelled = value.encode() + b"\x00"
    return b"\x02" + name.encode() + b"\x00" + len(spelled).to_bytes(4, "little") + spelled


def _amqp_names(*names: str) -> bytes:
    return b"".join(bytes([len(name)]) + name.encode() for name in names)
