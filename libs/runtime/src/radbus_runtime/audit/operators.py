"""Events of what operators do by commands, on their hosts and under their own names."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from radbus_contracts.errors import PermanentError, RadbusError
from radbus_storage.documents import Documents

from radbus_runtime.audit.adding import add_event
from radbus_runtime.audit.codes import Kind, ObjectKind, Outcome
from radbus_runtime.audit.events import event_of_operator

SOURCE: Final = "cli"


@asynccontextmanager
async def recorded(
    documents: Documents, kind: Kind, *about: tuple[ObjectKind, str], institution: str | None = None
) -> AsyncIterator[list[tuple[ObjectKind, str]]]:
    """Record what the user of this process does within, with how it ends; give what it is about, to be added to.

    Raises:
        TransientError: It is not recorded, and did not fail itself.
    """
    objects = list(about)
    try:
        yield objects
    except BaseException as error:
        # The same user may do better what is refused on purpose (PS3.15 A.5: minor); else radbus could not do it.
        outcome = Outcome.MINOR_FAILURE if isinstance(error, PermanentError) else Outcome.MAJOR_FAILURE
        with suppress(RadbusError):  # what failed first is to be told; the log has the event
            await record_operator(documents, kind, objects, institution=institution, outcome=outcome)
        raise
    await record_operator(documents, kind, objects, institution=institution)


async def record_operator(
    documents: Documents,
    kind: Kind,
    objects: Collection[tuple[ObjectKind, str]] = (),
    *,
    institution: str | None = None,
    outcome: Outcome = Outcome.SUCCESS,
) -> None:
    """Record what the user of this process does; the first hundred objects are named, all are counted.

    Raises:
        TransientError: It is not recorded.
    """
    record = event_of_operator(SOURCE, kind, user=operator(), objects=objects, institution=institution, outcome=outcome)
    await add_event(documents, record)


def operator() -> str:
    """Return the name of the user whose process this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
