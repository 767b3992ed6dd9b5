"""`radbus purge` and `radbus retention`: erasing studies, series and runs, and the policy that does so by itself."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from radbus_contracts.errors import PermanentError
from rich.markup import escape
from rich.table import Table

from radbus_cli.console import Json, console, errors, print_json
from radbus_cli.filters import NotSureError, duration_of
from radbus_cli.target import Target

if TYPE_CHECKING:
    from radbus_runtime.retention.order import What

    from radbus_cli.purging import Meant, Wanted

app = typer.Typer(
    invoke_without_command=True,
    no_args_is_help=True,
    help="Erase studies, series or runs of an institution, with all that was made of them.",
)
retention = typer.Typer(no_args_is_help=True, help="The policy of retention.")

_UNITS = ("B", "kB", "MB", "GB", "TB")

Institution = Annotated[str | None, typer.Option(help="Whose data; nothing of another's is ever touched.")]


class NotErasedError(PermanentError):
    """Something could not be erased now; the service `results` goes on with it."""


@app.callback()
def purge(  # noqa: PLR0913 - its options
    context: typer.Context,
    *,
    institution: Institution = None,
    study: Annotated[list[str] | None, typer.Option(help="StudyInstanceUID; may be given several times.")] = None,
    series: Annotated[list[str] | None, typer.Option(help="SeriesInstanceUID; may be given several times.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="Id of a run of the inferencing API.")] = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration_of, metavar="TIME", help="All studies of which nothing has come for so long, such as 400d."
        ),
    ] = None,
    inputs: Annotated[bool, typer.Option("--inputs", help="Erase instances and their header elements.")] = False,
    outputs: Annotated[bool, typer.Option("--outputs", help="Erase derived objects and what was found.")] = False,
    everything: Annotated[bool, typer.Option("--everything", help="Erase inputs, outputs and all records.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the record of the purge. Name no patient.")] = "asked for",
    limit: Annotated[int, typer.Option(help="How many studies --older-than takes at most.", min=1, max=100_000)] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase it for good.")] = False,
    as_json: Json = False,
) -> None:
    """Erase studies, series or runs of an institution, with all that was made of them; see it first with --dry-run."""
    if context.invoked_subcommand is not None:
        return
    from radbus_runtime.audit.operators import operator

    from radbus_cli.purging import Wanted

    if institution is None or not (study or series or run or older_than):
        raise typer.BadParameter("expected --institution, and --study, --series, --run or --older-than")
    wanted = Wanted(
        institution=institution,
        studies=study or (),
        series=series or (),
        runs=run or (),
        older_than=older_than,
        limit=limit,
        what=_what(inputs=inputs, outputs=outputs, everything=everything),
        by=f"{operator()}@{socket.gethostname()}",
        reason=reason,
    )
    asyncio.run(_purge(wanted, dry_run=dry_run, yes=yes, as_json=as_json))


@app.command()
def status(
    *,
    institution: Institution = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Also those that are finished.")] = False,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """List the purges that are not finished, and what they wait for."""
    from radbus_cli.purging import purging, shown

    async def work() -> list[dict[str, Any]]:
        async with purging(Target().stack.environment()) as at:
            found = await at.status(institution=institution, only_open=not all_of_them, limit=limit)
            return [shown(each) for each in found]

    _print_purges({"purges": asyncio.run(work())}, as_json=as_json)


@retention.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The policy; by default that of RADBUS_RETENTION_FILE.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Check a policy, and say for how many days it keeps what."""
    from radbus_runtime.retention.policy import load_policy

    given = os.environ.get("RADBUS_RETENTION_FILE")
    policy = load_policy(file or (Path(given) if given else None))
    rows = [
        {
            "institution": institution,
            "use_case": use_case,
            "inputs_days": kept.inputs_days,
            "outputs_days": kept.outputs_days,
            "records_days": kept.records_days,
        }
        for institution, use_case, kept in policy.rows()
    ]
    if as_json:
        print_json({"kept": rows})
        return
    table = Table("institution", "use case", "inputs", "outputs", "records")
    for row in rows:
        days = ("for ever" if row[name] is None else f"{row[name]} days" for name in list(row)[2:])
        names = (escape(str(row[name] or "any other")) for name in ("institution", "use_case"))
        table.add_row(*names, *days)
    console.print(table)


async def _purge(wanted: Wanted, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from radbus_cli.purging import AnotherOpenError, purging, shown

    records: list[dict[str, Any]] = []
    refused: list[str] = []
    async with purging(Target().stack.environment()) as at:
        meant, more = await at.meant(wanted)
        if dry_run or not yes:
            _print_meant(meant, more=more, as_json=as_json)
            if not dry_run:
                raise NotSureError(f"{len(meant)} would be erased for good: add --yes")
            return
        await at.prepare()
        for each in meant:
            try:
                records.append(shown(await at.purge(each.order)))
            except AnotherOpenError as error:  # it must not hold up the others
                refused.append(str(error))
    _print_purges({"purges": records, "more": more}, as_json=as_json)
    _say_more(more=more)
    if refused:
        raise AnotherOpenError("; ".join(refused))
    left = [record for record in records if record["state"] != "finished"]
    if left:
        raise NotErasedError(
            f"{len(left)} of {len(records)} wait: {left[0]['waits_for'] or 'another is at it'}"
            " (radbus goes on by itself; see `radbus purge status`)"
        )


def _what(*, inputs: bool, outputs: bool, everything: bool) -> tuple[What, ...]:
    from radbus_runtime.retention.order import EVERYTHING, What

    if everything == (inputs or outputs):
        raise typer.BadParameter("expected --everything, or --inputs, --outputs or both")
    return (
        EVERYTHING
        if everything
        else tuple(what for what, wanted in ((What.INPUTS, inputs), (What.OUTPUTS, outputs)) if wanted)
    )


def _print_meant(meant: list[Meant], *, more: bool, as_json: bool) -> None:
    from radbus_runtime.retention.preview import Preview

    _say_more(more=more)
    total = sum((each.preview for each in meant), Preview())
    if as_json:
        print_json({"would_erase": [each.document() for each in meant], "more": more})
        return
    table = _table("what", "series", "instances", "jobs", "outputs", "records", "waits for")
    for name, each, busy in (
        *((f"{each.order.kind.value} {each.order.subject_uid}", each.preview, each.busy) for each in meant),
        ("all", total, None),
    ):
        stored, made = _bytes(each.instances_bytes), _bytes(each.outputs_bytes)
        cells = (f"{each.instances} ({stored})", str(each.jobs), f"{each.outputs} ({made})", str(each.records))
        table.add_row(escape(name), str(each.series), *cells, escape(busy or ""))
    console.print(table)


def _say_more(*, more: bool) -> None:
    if more:
        errors.print("more studies are as old; raise --limit")


def _print_purges(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    records = told["purges"]
    if not records:
        console.print("there are none")
        return
    table = _table("id", "institution", "subject", "what", "state", "waits for", "erased", "by")
    for each in records:
        erased = " ".join(f"{count} {what}" for what, count in each["counts"].items())
        cells = (each["id"], each["institution"], f"{each['kind']} {each['subject_uid']}", " ".join(each["what"]))
        rest = (each["state"], each["waits_for"] or "", erased, each["by"])
        table.add_row(*(escape(cell) for cell in (*cells, *rest)))
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")  # a UID must be there whole
    return table


def _bytes(count: float) -> str:
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == _UNITS[0] else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
