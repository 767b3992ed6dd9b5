"""The database of a deployment, for the commands that keep records in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr
from radbus_runtime.audit.codes import CHANGE_RIGHTS, ObjectKind

from radbus_cli.target import Target

if TYPE_CHECKING:
    from radbus_storage.documents import Documents

T = TypeVar("T")


async def with_documents(environment: Mapping[str, str], work: Callable[[Documents], Awaitable[T]]) -> T:
    """Do something with the database that `environment` names."""
    from radbus_storage.documents import Documents
    from radbus_storage.settings import DocumentSettings

    documents = Documents(
        DocumentSettings(url=SecretStr(environment["RADBUS_MONGO_URL"]), database=environment["RADBUS_MONGO_DATABASE"])
    )
    try:
        return await work(documents)
    finally:
        documents.close()


def changing_rights(
    documents: Documents, *, institution: str | None = None
) -> AbstractAsyncContextManager[list[tuple[ObjectKind, str]]]:
    """Record for the audit trail that rights are changed within, and whose: of a token, a user or a webhook."""
    from radbus_runtime.audit.operators import recorded

    return recorded(documents, CHANGE_RIGHTS, institution=institution)


def in_database(work: Callable[[Documents], Awaitable[T]]) -> T:
    """Do something with the database of the deployment that is meant."""
    return asyncio.run(with_documents(Target().stack.environment(), work))
