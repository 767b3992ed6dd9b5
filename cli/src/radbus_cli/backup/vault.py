"""Where backups are kept: a folder, or another bucket; files are written whole or not at all."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from pydantic import SecretStr
from radbus_contracts.errors import PermanentError
from radbus_storage.errors import ObjectMissingError
from radbus_storage.objects import ObjectStore
from radbus_storage.settings import ObjectSettings

_S3: Final = "s3://"
_PAGE: Final = 1000
AT_A_TIME: Final = 4
"""Objects that are on their way at a time; each is on the disk meanwhile."""


class NotAVaultError(PermanentError):
    """What was given is no place for backups."""


class Vault(Protocol):
    """A place of files by name; names have slashes."""

    async def put(self, name: str, file: Path) -> None:
        """Copy a file there; one of the same name is replaced."""

    async def get(self, name: str, file: Path) -> None:
        """Copy a file from there.

        Raises:
            ObjectMissingError: There is none.
        """

    async def size_bytes(self, name: str) -> int | None:
        """Return the size of a file, None if there is none."""

    async def names(self, prefix: str) -> list[str]:
        """List all files whose names begin so, however many, in the order of their names."""

    async def folders(self, prefix: str) -> list[str]:
        """List the names of the folders in a folder, without a look at the files in them."""

    async def written_at(self, prefix: str) -> datetime | None:
        """Say when the last of the files whose names begin so was written, by the clock of the place."""

    async def delete(self, name: str) -> None:
        """Remove a file; none there is success."""

    def close(self) -> None:
        """Close what is open."""


class Folder:
    """A vault in a folder, readable by its owner alone."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    async def put(self, name: str, file: Path) -> None:
        """Copy, then rename, so that a name stands for a whole file."""
        await asyncio.to_thread(self._put, name, file)

    async def get(self, name: str, file: Path) -> None:
        """Copy a file from there."""
        try:
            await asyncio.to_thread(shutil.copyfile, self._root / name, file)
        except FileNotFoundError:
            raise ObjectMissingError(f"backup: no file {name}") from None

    async def size_bytes(self, name: str) -> int | None:
        """Return the size of a file, None if there is none."""
        path = self._root / name
        return path.stat().st_size if path.is_file() else None

    async def names(self, prefix: str) -> list[str]:
        """List the files below a folder."""
        return await asyncio.to_thread(self._names, prefix)

    async def folders(self, prefix: str) -> list[str]:
        """List the folders in a folder."""
        return await asyncio.to_thread(self._folders, prefix)

    async def written_at(self, prefix: str) -> datetime | None:
        """Say when the last file below a folder was written."""
        return await asyncio.to_thread(self._written_at, prefix)

    async def delete(self, name: str) -> None:
        """Remove a file."""
        (self._root / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is open."""

    def _put(self, name: str, file: Path) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            shutil.copyfile(file, part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _names(self, prefix: str) -> list[str]:
        folder = self._root / prefix.rpartition("/")[0]
        found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part"))
        return sorted(name for path in found if (name := path.relative_to(self._root).as_posix()).startswith(prefix))

    def _written_at(self, prefix: str) -> datetime | None:
        times = [(self._root / name).stat().st_mtime for name in self._names(prefix)]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def _folders(self, prefix: str) -> list[str]:
        folder = self._root / prefix
        return sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


class Bucket:
    """A vault in a bucket of an S3 store, below a prefix."""

    def __init__(self, settings: ObjectSettings, prefix: str) -> None:
        self._store = ObjectStore(settings)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    async def put(self, name: str, file: Path) -> None:
        """Store a file; an object is there whole or not at all."""
        await self._store.ensure_bucket()
        await self._store.upload(f"{self._prefix}{name}", file)

    async def get(self, name: str, file: Path) -> None:
        """Read a file."""
        await self._store.download(f"{self._prefix}{name}", file)

    async def size_bytes(self, name: str) -> int | None:
        """Return the size of a file, None if there is none."""
        try:
            return await self._store.size_bytes(f"{self._prefix}{name}")
        except ObjectMissingError:
            return None

    async def names(self, prefix: str) -> list[str]:
        """List the files whose names begin so."""
        await self._store.ensure_bucket()
        pages = self._store.walk(f"{self._prefix}{prefix}", page=_PAGE)
        return sorted([entry.key.removeprefix(self._prefix) async for page in pages for entry in page])

    async def folders(self, prefix: str) -> list[str]:
        """List the folders in a folder."""
        await self._store.ensure_bucket()
        found = await self._store.folders(f"{self._prefix}{prefix}")
        return sorted(each.rstrip("/").rpartition("/")[2] for each in found)

    async def written_at(self, prefix: str) -> datetime | None:
        """Say when the last file below a folder was written."""
        pages = self._store.walk(f"{self._prefix}{prefix}", page=_PAGE)
        newest = [max(entry.modified_at for entry in page) async for page in pages if page]
        return max(newest, default=None)

    async def delete(self, name: str) -> None:
        """Remove a file."""
        await self._store.delete(f"{self._prefix}{name}")

    def close(self) -> None:
        """Close the connections."""
        self._store.close()


def vault_of(target: str, environment: Mapping[str, str]) -> Vault:
    """Open a vault: a folder, or s3://bucket/prefix at the store that RADBUS_BACKUP_S3_URL names, else at radbus's own.

    Raises:
        NotAVaultError: It is neither, or it is the bucket that is to be backed up.
    """
    if not target.startswith(_S3):
        if "://" in target:
            raise NotAVaultError(f"{target}: expected a folder or s3://bucket/prefix")
        return Folder(Path(target))
    bucket, _, prefix = target.removeprefix(_S3).partition("/")
    given = {
        name: environment.get(f"RADBUS_BACKUP_S3_{name}") or environment.get(f"RADBUS_S3_{name}") or ""
        for name in ("URL", "ACCESS_KEY", "SECRET_KEY", "REGION")
    }
    is_same_store = given["URL"] == environment.get("RADBUS_S3_URL")
    if not bucket or (is_same_store and bucket == environment.get("RADBUS_S3_BUCKET", "radbus")):
        raise NotAVaultError(f"{target}: expected a bucket other than radbus's own")
    settings = ObjectSettings(
        url=given["URL"],
        public_url=given["URL"],
        access_key=SecretStr(given["ACCESS_KEY"]),
        secret_key=SecretStr(given["SECRET_KEY"]),
        bucket=bucket,
        region=given["REGION"] or "us-east-1",
    )
    return Bucket(settings, prefix)
