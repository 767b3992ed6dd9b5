"""Events of what operators do by commands, on their hosts and under their own names."""

from __future__ import annotations

import getpass
from collections.abc import Collection
from typing import Any, Final, cast

from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_runtime.audit.codes import Kind, ObjectKind, Outcome
from radbus_runtime.audit.events import event_of_operator

SOURCE: Final = "cli"


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
    await documents[records.AUDIT].insert(cast("dict[str, Any]", record))


def operator() -> str:
    """Return the name of the user whose process this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
