"""The local stack: the real servers and the services on one machine, without Docker."""

from radbus_cli.local.errors import PortTakenError, ProgramNotReadyError, ServerMissingError, StackError
from radbus_cli.local.stack import LocalStack, ProgramStatus

__all__ = [
    "LocalStack",
    "PortTakenError",
    "ProgramNotReadyError",
    "ProgramStatus",
    "ServerMissingError",
    "StackError",
]
