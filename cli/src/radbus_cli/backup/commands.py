"""`radbus backup` and `radbus restore`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from radbus_cli.console import Json, console, errors, print_json
from radbus_cli.target import Target

if TYPE_CHECKING:
    from radbus_storage.documents import Documents
    from radbus_storage.objects import ObjectStore

    from radbus_cli.backup.manifest import Manifest
    from radbus_cli.backup.vault import Vault

T = TypeVar("T")

Where = Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.", metavar="TARGET")]
Which = Annotated[str | None, typer.Option("--backup", help="Id of the backup; by default the newest whole one.")]


class _OrMake(TyperGroup):
    """`radbus backup TARGET` is `radbus backup make TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_OrMake, no_args_is_help=True, help="Copy all records and objects; `radbus restore` reads them.")


@app.command()
def make(where: Where, *, as_json: Json = False) -> None:
    """Back up all records and objects; objects that a backup there has already are not copied again."""

    async def work(documents: Documents, objects: ObjectStore, vault: Vault) -> Manifest:
        from radbus_runtime.audit.codes import EXPORT, ObjectKind
        from radbus_runtime.audit.operators import recorded

        from radbus_cli.backup.making import BackupMaker

        async with recorded(documents, EXPORT) as about:
            manifest = await BackupMaker(documents, objects, vault).make()
            about.append((ObjectKind.BACKUP, manifest.id))
            return manifest

    _show(asyncio.run(_with_all(where, work)), as_json=as_json)


@app.command("list")
def list_(where: Where, *, as_json: Json = False) -> None:
    """List the whole backups, oldest first."""

    async def work(vault: Vault) -> list[Manifest]:
        from radbus_cli.backup.manifest import backup_ids, read_manifest

        return [await read_manifest(vault, each) for each in await backup_ids(vault)]

    found = asyncio.run(_with_vault(where, work))
    if as_json:
        print_json([_told(each) for each in found])
        return
    for each in found:
        _show(each, as_json=False)


@app.command()
def verify(
    where: Where,
    *,
    backup: Which = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the sizes of objects, not their bytes.")] = False,
    as_json: Json = False,
) -> None:
    """Read a whole backup and compare it with its manifest; exit status 1 when something is not as it was."""

    async def work(vault: Vault) -> Any:
        from radbus_cli.backup.manifest import read_manifest
        from radbus_cli.backup.verifying import verify as look

        return await look(vault, await read_manifest(vault, backup), quick=quick)

    found = asyncio.run(_with_vault(where, work))
    told = {"id": found.id, "documents": found.documents, "objects": found.objects, "faults": list(found.faults)}
    if as_json:
        print_json(told)
    else:
        for fault in found.faults:
            console.print(f"[red]-[/] {fault}", soft_wrap=True, highlight=False)
        verdict = "[red]is not whole[/]" if found.faults else "is whole"
        console.print(
            f"backup {found.id} {verdict}: {found.documents} records, {found.objects} objects", soft_wrap=True
        )
    if found.faults:
        raise typer.Exit(1)


@app.command()
def prune(
    where: Where,
    *,
    keep: Annotated[int, typer.Option(help="How many of the newest backups stay.", min=1)],
    as_json: Json = False,
) -> None:
    """Remove older backups, and the objects that no other has."""

    async def work(vault: Vault) -> Any:
        from radbus_cli.backup.pruning import prune as remove

        return await remove(vault, keep=keep)

    found = asyncio.run(_with_vault(where, work))
    told = {
        "removed_backups": list(found.backups),
        "removed_objects": found.objects,
        "being_made": list(found.being_made),
    }
    if as_json:
        print_json(told)
    else:
        console.print(f"removed {len(found.backups)} backups and {found.objects} objects", soft_wrap=True)
    for each in found.being_made:
        errors.print(
            f"backup {each} is being made: objects that no other has are left for the next time", soft_wrap=True
        )


def restore(where: Where, *, backup: Which = None, as_json: Json = False) -> None:
    """Restore a backup into an empty system, with all services stopped; killed, it goes on where it stopped."""

    async def work(documents: Documents, objects: ObjectStore, vault: Vault) -> tuple[Manifest, int]:
        from radbus_runtime.audit.codes import IMPORT, ObjectKind
        from radbus_runtime.audit.operators import recorded

        from radbus_cli.backup.manifest import read_manifest
        from radbus_cli.backup.restoring import Restorer, refuse_while_services_run

        async with recorded(documents, IMPORT) as about:
            await refuse_while_services_run(Target().stack.environment()["RADBUS_AMQP_URL"])
            manifest = await read_manifest(vault, backup)
            about.append((ObjectKind.BACKUP, manifest.id))
            return manifest, await Restorer(documents, objects, vault).restore(manifest)

    manifest, told_again = asyncio.run(_with_all(where, work))
    if as_json:
        print_json({**_told(manifest), "told_again": told_again})
        return
    _show(manifest, as_json=False)
    console.print(f"restored; {told_again} messages will be told again when the services start", soft_wrap=True)


async def _with_vault(where: str, work: Callable[[Vault], Awaitable[T]]) -> T:
    async with _open_vault(where) as vault:
        return await work(vault)


async def _with_all(where: str, work: Callable[[Documents, ObjectStore, Vault], Awaitable[T]]) -> T:
    from radbus_storage.objects import ObjectStore

    from radbus_cli.audit import object_settings
    from radbus_cli.database import with_documents

    environment = Target().stack.environment()
    objects = ObjectStore(object_settings(environment))
    try:
        async with _open_vault(where) as vault:
            return await with_documents(environment, lambda documents: work(documents, objects, vault))
    finally:
        objects.close()


@asynccontextmanager
async def _open_vault(where: str) -> AsyncIterator[Vault]:
    from radbus_cli.backup.vault import vault_of

    vault = vault_of(where, {**Target().stack.environment(), **os.environ})
    try:
        yield vault
    finally:
        vault.close()


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "started_at": manifest.started_at.isoformat(),
        "finished_at": manifest.finished_at.isoformat(),
        "documents": manifest.counts(),
        "objects": manifest.object_count,
        "object_bytes": manifest.object_bytes,
        "copied_objects": manifest.copied_objects,
        "copied_bytes": manifest.copied_bytes,
    }


def _show(manifest: Manifest, *, as_json: bool) -> None:
    if as_json:
        print_json(_told(manifest))
        return
    count = sum(manifest.counts().values())
    console.print(
        f"backup {manifest.id}: {count} records, {manifest.object_count} objects of "
        f"{manifest.object_bytes / 1e6:.1f} MB, {manifest.copied_objects} of them copied anew",
        soft_wrap=True,
        highlight=False,
    )
