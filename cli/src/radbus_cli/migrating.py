"""`radbus migrate`: records of earlier releases to the present shape, beside services that go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from radbus_cli.console import Json, console, print_json
from radbus_cli.database import in_database

if TYPE_CHECKING:
    from radbus_runtime.migrating.runner import Migrator, Standing
    from radbus_storage.documents import Documents

app = typer.Typer(help="Bring records of earlier releases to the present shape; services go on meanwhile.")


@app.callback(invoke_without_command=True)
def migrate(
    context: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be changed.")] = False,
    batch: Annotated[int, typer.Option(help="Records in one update.", min=1, max=10_000)] = 500,
    pause_s: Annotated[float, typer.Option(help="Time to leave the database alone after each batch.", min=0)] = 0.0,
    as_json: Json = False,
) -> None:
    """Run every migration that is needed; killed, it goes on where it stopped."""
    if context.invoked_subcommand is not None:
        return
    if dry_run:
        _show(in_database(_standings), as_json=as_json)
        return

    async def run(documents: Documents) -> list[Standing]:
        from radbus_runtime.migrating.runner import Pace

        return await _migrator(documents).run(Pace(batch=batch, pause_s=pause_s))

    _show(in_database(run), as_json=as_json)


@app.command()
def status(*, as_json: Json = False) -> None:
    """Show how far each migration is; exit status 1 while records of an old shape are left."""
    found = in_database(_standings)
    _show(found, as_json=as_json)
    if any(each.state != "done" for each in found):
        raise typer.Exit(1)


async def _standings(documents: Documents) -> list[Standing]:
    return await _migrator(documents).standings()


def _migrator(documents: Documents) -> Migrator:
    from radbus_runtime.migrating.catalogue import MIGRATIONS
    from radbus_runtime.migrating.runner import Migrator

    return Migrator(documents, MIGRATIONS)


def _show(standings: Sequence[Standing], *, as_json: bool) -> None:
    if as_json:
        told = [asdict(each) for each in standings]
        print_json([{**each, "finished_at": each["finished_at"] and each["finished_at"].isoformat()} for each in told])
        return
    table = Table("migration", "collection", "state", "old", "changed")
    for each in standings:
        table.add_row(each.name, each.collection, each.state, str(each.old), str(each.changed))
    console.print(table)
