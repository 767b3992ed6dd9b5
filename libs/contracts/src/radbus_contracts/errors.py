"""The two kinds of errors: an error's base class is its retry policy."""

from __future__ import annotations


class RadbusError(Exception):
    """Base of every error that radbus raises on purpose; its text never holds patient data."""


class TransientError(RadbusError):
    """Trying the same message again may succeed: a store is away, a deadline passed."""


class ServerAwayError(TransientError):
    """A server that everybody needs is away: no message is at fault, so trying goes on for as long as it takes."""


class PermanentError(RadbusError):
    """The message itself is at fault; it goes to the dead letters with this reason."""
