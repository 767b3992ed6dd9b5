"""What a backup is made of: names of files, and the manifest that says it is whole."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, field_validator
from radbus_contracts.errors import PermanentError
from radbus_storage import records

from radbus_cli.backup.vault import Vault

FORMAT: Final = 2
_SILENT: Final = timedelta(hours=1)  # the largest object takes less, and each page of a list is a file
_READ: Final = frozenset({1, FORMAT})  # 1 had the records of a collection in one file
# What a record of one stands on comes before it: a fact's effect is never in a backup without the fact's cause.
COLLECTIONS: Final = (
    records.TOKENS,
    records.USERS,
    records.WEBHOOKS,
    records.MIGRATIONS,
    records.INSTANCES,
    records.SERIES,
    records.STUDIES,
    records.RUNS,
    records.WISHES,
    records.ROUTINGS,
    records.JOBS,
    records.LEASES,
    records.OUTCOMES,
    records.CASES,
    records.INFERENCES,
    records.DELIVERIES,
    records.PURGES,
    records.AUDIT,
)
# Who runs now, and whose turn it is: found anew.
NOT_KEPT: Final = (records.WORKERS, records.TURNS, records.SWEEPS, records.RESTORES)


class BackupError(PermanentError):
    """A backup is not there, not whole, or not what it was."""


class Kept(BaseModel):
    """A file of a backup."""

    model_config = ConfigDict(frozen=True)

    file: str
    count: int
    size_bytes: int
    sha256: str


class ObjectLine(BaseModel):
    """One object as it was; its bytes are in the file that its digest names."""

    model_config = ConfigDict(frozen=True)

    key: str
    size_bytes: int
    modified_at: datetime
    sha256: str
    content_type: str


class Manifest(BaseModel):
    """One backup; written last, so that what has one is whole."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    id: str
    started_at: datetime
    finished_at: datetime
    documents: dict[str, tuple[Kept, ...]]
    listings: tuple[Kept, ...]
    object_count: int
    object_bytes: int
    copied_objects: int
    copied_bytes: int

    @field_validator("documents", mode="before")
    @classmethod
    def _in_parts(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: [parts] if isinstance(parts, dict) else parts for name, parts in given.items()}

    def counts(self) -> dict[str, int]:
        """Count the records of each collection."""
        return {name: sum(part.count for part in parts) for name, parts in self.documents.items()}


def new_id() -> str:
    """Name a backup by the time of its beginning."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z"


def blob_name(sha256: str) -> str:
    """Name the file of an object by its content: two backups that hold it share it."""
    return f"objects/{sha256[:2]}/{sha256}"


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def manifest_name(backup_id: str) -> str:
    """Name the file that says that a backup is whole."""
    return f"backups/{backup_id}/manifest.json"


async def backup_ids(vault: Vault, *, whole: bool = True) -> list[str]:
    """List the backups there, oldest first; also those that were not finished, when asked."""
    found = await vault.folders("backups/")
    if not whole:
        return found
    return [each for each in found if await vault.size_bytes(manifest_name(each)) is not None]


async def being_made(vault: Vault) -> list[str]:
    """List the backups that somebody is making, oldest first: not whole, and written to within the last hour."""
    whole = set(await backup_ids(vault))
    unfinished = [each for each in await backup_ids(vault, whole=False) if each not in whole]
    since = datetime.now(UTC) - _SILENT
    written = {each: await vault.written_at(f"backups/{each}/") for each in unfinished}
    return [each for each, at in written.items() if at is not None and at > since]


async def read_manifest(vault: Vault, backup_id: str | None = None) -> Manifest:
    """Read the manifest of a backup, by default of the newest that is whole.

    Raises:
        BackupError: There is none, or it is of another format.
    """
    known = await backup_ids(vault)
    if not known:
        raise BackupError("there is no whole backup here")
    wanted = backup_id or known[-1]
    if wanted not in known:
        raise BackupError(f"there is no whole backup {wanted} here; there are: {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest.json"
        await vault.get(manifest_name(wanted), file)
        manifest = Manifest.model_validate_json(file.read_bytes())
    if manifest.format not in _READ:
        raise BackupError(f"backup {wanted} is of format {manifest.format}; this release reads up to {FORMAT}")
    return manifest
