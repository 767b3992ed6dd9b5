"""`radbus trail`: the audit trail, for people and for a site's audit record repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from radbus_cli.console import Json, console, errors, print_json
from radbus_cli.database import in_database
from radbus_cli.filters import duration_of

if TYPE_CHECKING:
    from radbus_storage.documents import Document, Documents
    from radbus_storage.operator_records import AuditRecord

app = typer.Typer(no_args_is_help=True, help="The audit trail: who reached what, when, from where.")

_LIMIT: Final = 10_000
_OBJECTS_SHOWN: Final = 2


class Ended(StrEnum):
    """How what was tried ended."""

    SUCCESS = "success"
    FAILURE = "failure"


@app.callback()
def _group() -> None:
    """Stay a group, though there is one command."""


@app.command("list")
def list_events(
    *,
    since: Annotated[
        timedelta | None, typer.Option(parser=duration_of, metavar="TIME", help="Only the last: 90s, 30m, 2h, 7d.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only what this token, user or operator did.")] = None,
    uid: Annotated[str | None, typer.Option(help="Only what was about this UID or id.")] = None,
    institution: Annotated[str | None, typer.Option(help="Only this institution's.")] = None,
    outcome: Annotated[Ended | None, typer.Option(help="Only what ended so.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=_LIMIT)] = 100,
    atna: Annotated[bool, typer.Option("--atna", help="Print AuditMessages (PS3.15 A.5), one a line.")] = False,
    as_json: Json = False,
) -> None:
    """List audit events, oldest first; that they were read is an event as well."""
    where: dict[str, Any] = {"at": {"$gte": datetime.now(UTC) - since}} if since is not None else {}
    where |= {} if user is None else {"participants.user": user}
    where |= {} if uid is None else {"objects.uid": uid}
    where |= {} if institution is None else {"institution": institution}
    where |= {} if outcome is None else {"event.outcome": 0 if outcome is Ended.SUCCESS else {"$gt": 0}}

    async def read(documents: Documents) -> list[Document]:
        return await _read(documents, where, limit)

    found = in_database(read)
    if atna:
        from radbus_runtime.audit.messages import message_of

        for event in found:
            typer.echo(message_of(event))  # type: ignore[arg-type]
    elif as_json:
        print_json({"events": [{**event, "at": event["at"].isoformat()} for event in found]})
    else:
        _print(found)  # type: ignore[arg-type]
    if len(found) == limit:
        errors.print("there may be earlier ones; raise --limit")


async def _read(documents: Documents, where: dict[str, Any], limit: int) -> list[Document]:
    from radbus_runtime.audit.codes import READ_TRAIL, ObjectKind
    from radbus_runtime.audit.operators import recorded
    from radbus_storage.records import AUDIT

    async with recorded(documents, READ_TRAIL, (ObjectKind.TRAIL, AUDIT)):
        found = await documents.audit.find(where, limit=limit, sort=[("at", -1)])
        return found[::-1]


def _print(events: list[AuditRecord]) -> None:
    from radbus_runtime.audit.codes import MEANINGS

    table = Table()
    for column in ("at", "event", "outcome", "user", "from", "institution", "about", "request"):
        table.add_column(column, overflow="fold")
    for event in events:
        code, who, request = event["event"], event["participants"][0], event["request"]
        meaning = MEANINGS[code["type"] or code["id"]]
        repeats = f" ({event['repeats']}x)" if event["repeats"] > 1 else ""
        cells = (
            f"{event['at']:%Y-%m-%d %H:%M:%S}",
            f"{meaning} {code['action']}{repeats}",
            str(code["outcome"]),
            who["user"],
            who["address"] or "",
            event["institution"] or "",
            _about(event),
            f"{request['method']} {request['route']} {request['status']}" if request else "",
        )
        table.add_row(*(escape(_printable(cell)) for cell in cells))
    console.print(table)


def _about(event: AuditRecord) -> str:
    shown = [f"{each['kind']} {each['uid']}" for each in event["objects"][:_OBJECTS_SHOWN]]
    more = event["object_count"] - len(shown)
    return "\n".join([*shown, *([f"and {more} more"] if more else [])])


def _printable(text: str) -> str:
    """Leave nothing that a terminal would obey: who names a token may name it anything."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)
