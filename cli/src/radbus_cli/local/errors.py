"""What can go wrong with the local stack, in words that say what to do."""

from __future__ import annotations

from radbus_contracts.errors import PermanentError


class StackError(PermanentError):
    """The local stack cannot do what was asked."""


class ServerMissingError(StackError):
    """A server's program is not installed on this machine."""


class PortTakenError(StackError):
    """A port that the stack needs is in use by something else."""


class ProgramNotReadyError(StackError):
    """A program ended or did not become ready in time; the text ends with the last lines of its log."""
