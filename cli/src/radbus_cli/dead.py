"""`radbus dead`: the messages that could not be settled; see them, give them another life, or drop them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from radbus_contracts.errors import PermanentError
from radbus_runtime.audit.codes import CHANGE_JOB, DELETE_JOB, READ_JOB, Kind, ObjectKind
from rich.markup import escape
from rich.table import Table

from radbus_cli.console import Json, console, errors, print_json, printable
from radbus_cli.database import in_database
from radbus_cli.dead_letters import DeadLetter, Wanted, body_of, plain, replays_of
from radbus_cli.filters import NotSureError, Yes, duration_of
from radbus_cli.target import Target

if TYPE_CHECKING:
    from radbus_storage.documents import Documents

    from radbus_cli.dead_queues import DeadQueues, Found

Act = Callable[["DeadQueues", "Found"], Awaitable[None]]

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay or drop them.")

_SHOWN_CHARACTERS = 10_000

Id = Annotated[str | None, typer.Argument(help="The id of one, as `list` prints it.")]
QueueName = Annotated[str | None, typer.Option("--queue", help="Only this queue's, such as router.series-completed.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this in their reason.")]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration_of, metavar="TIME", help="Only those that died at least so long ago: 90s, 30m, 2h, 7d."
    ),
]
NewerThan = Annotated[
    timedelta | None, typer.Option(parser=duration_of, metavar="TIME", help="Only those that died at most so long ago.")
]
Limit = Annotated[int, typer.Option(help="How many letters of each queue to look at.", min=1, max=100_000)]


class NoLetterError(PermanentError):
    """No dead letter has this id."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Where to look, and for what."""

    url: str
    queues: list[str]
    is_named: bool
    wanted: Wanted
    limit: int


@app.command("list")
def list_letters(
    *,
    queue: QueueName = None,
    reason: Reason = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 1000,
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first in each queue."""
    look = _look(queue, limit, Wanted(None, reason, older_than, newer_than))
    letters, unseen = asyncio.run(_find(look))
    if as_json:
        print_json({"dead_letters": [letter.document() for letter in letters], "not_looked_at": unseen})
        return
    now = datetime.now(UTC)
    table = Table()
    for column in ("id", "queue", "reason", "age", "type", "subject", "attempts"):
        table.add_column(column, overflow="fold")  # an id must be there whole, to be given to the other commands
    for letter in letters:
        attempts = f"{letter.attempts}" + (f" (replayed {letter.replays}x)" if letter.replays else "")
        cells = (letter.id, letter.queue, letter.reason, _age(letter, now), letter.type, letter.subject, attempts)
        table.add_row(*(escape(printable(cell or "")) for cell in cells))
    console.print(table)
    _say_unseen(unseen)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The id of one, as `list` prints it.")],
    *,
    queue: QueueName = None,
    limit: Limit = 1000,
    as_json: Json = False,
) -> None:
    """Show a dead letter with its history and its body; those of one id in several queues are shown all."""
    shown: list[dict[str, Any]] = []
    look = _look(queue, limit, Wanted(letter_id))

    async def keep(_: DeadQueues, found: Found) -> None:
        message = found.message
        shown.append(
            found.letter.document()
            | {
                "content_type": message.content_type,
                "history": replays_of(message.headers),
                "headers": plain(message.headers),
                "body": body_of(message.body),
            }
        )

    _recorded(look, keep, READ_JOB)
    if as_json:
        print_json({"dead_letters": shown})
        return
    for each in shown:
        body = each.pop("body")
        for name, value in each.items():
            text = value if isinstance(value, str) else json.dumps(value, indent=2)
            console.print(f"[bold]{name}[/] {escape(printable(text))}", soft_wrap=True)
        text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
        cut = f"\n... {len(text) - _SHOWN_CHARACTERS} more characters: --json" if len(text) > _SHOWN_CHARACTERS else ""
        console.print(f"[bold]body[/]\n{escape(printable(text[:_SHOWN_CHARACTERS] + cut))}\n", soft_wrap=True)


@app.command()
def replay(
    letter_id: Id = None,
    *,
    queue: QueueName = None,
    reason: Reason = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 1000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put dead letters back into their queues, as new and with their history; several need --yes."""
    from radbus_runtime.audit.operators import operator

    by = f"{operator()}@{socket.gethostname()}"
    wanted = Wanted(letter_id, reason, older_than, newer_than)

    async def again(queues: DeadQueues, found: Found) -> None:
        await queues.replay(found, by=by)

    done = _do(_look(queue, limit, wanted), again, CHANGE_JOB, is_sure=yes, alone_is_sure=letter_id is not None)
    _tell("replayed", done, as_json=as_json)


@app.command()
def drop(
    letter_id: Id = None,
    *,
    queue: QueueName = None,
    reason: Reason = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 1000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take dead letters out for good; needs --yes."""
    wanted = Wanted(letter_id, reason, older_than, newer_than)

    async def out(queues: DeadQueues, found: Found) -> None:
        await queues.drop(found)

    done = _do(_look(queue, limit, wanted), out, DELETE_JOB, is_sure=yes, alone_is_sure=False)
    _tell("dropped", done, as_json=as_json)


def _look(queue: str | None, limit: int, wanted: Wanted) -> _Look:
    from radbus_cli.dead_queues import queue_names

    environment = Target().stack.environment()
    names = [queue.removesuffix(".dead")] if queue else queue_names(Path(environment["RADBUS_MACHINES_DIR"]))
    return _Look(environment["RADBUS_AMQP_URL"], names, queue is not None, wanted, limit)


def _do(look: _Look, act: Act, kind: Kind, *, is_sure: bool, alone_is_sure: bool) -> list[DeadLetter]:
    if not is_sure:
        meant, _ = asyncio.run(_find(look))
        _expect_some(meant, look)
        if meant and not (alone_is_sure and len(meant) == 1):
            raise NotSureError(f"{len(meant)} dead letters are meant: look at them with `list`, then add --yes")
    done, unseen = _recorded(look, act, kind)
    _say_unseen(unseen)
    return done


def _recorded(look: _Look, act: Act, kind: Kind) -> tuple[list[DeadLetter], dict[str, int]]:
    """Do something with each letter that is meant, as an event of the audit trail; without MongoDB nothing is done."""
    from radbus_runtime.audit.operators import recorded

    found: list[DeadLetter] = []

    async def work(documents: Documents) -> dict[str, int]:
        await documents.ping()
        async with recorded(documents, kind) as about:
            try:
                _, unseen = await _find(look, act, found)
            finally:
                about += [each for one in found for each in _named(one)]
            _expect_some(found, look)
        return unseen

    return found, in_database(work)


def _named(letter: DeadLetter) -> Iterator[tuple[ObjectKind, str]]:
    """Name a letter and what it is about, but for what is no id: a message may hold anything."""
    from radbus_runtime.http import id_for_log

    yield ObjectKind.MESSAGE, letter.id if letter.id.startswith("sha256:") else id_for_log(letter.id)
    if letter.subject and id_for_log(letter.subject) == letter.subject:
        yield ObjectKind.UID, letter.subject


async def _find(
    look: _Look, act: Act | None = None, found: list[DeadLetter] | None = None
) -> tuple[list[DeadLetter], dict[str, int]]:
    """Return the letters that are meant, after doing something with each; and how many were not looked at."""
    from radbus_cli.dead_queues import DeadQueues

    found = [] if found is None else found
    now = datetime.now(UTC)
    async with DeadQueues.of(look.url) as queues:
        for name in look.queues:
            async with queues.look(name, limit=look.limit, must_be=look.is_named) as letters:
                async for each in letters:
                    if not look.wanted.holds_for(each.letter, now):
                        continue
                    if act is not None:
                        await act(queues, each)
                    found.append(each.letter)
        return found, {name: count for name, count in queues.unseen.items() if count}


def _expect_some(letters: list[DeadLetter], look: _Look) -> None:
    if look.wanted.id is not None and not letters:
        where = f"{look.queues[0]} does not have" if look.is_named else "no queue has"
        raise NoLetterError(f"expected the id of a dead letter, {where} {look.wanted.id!r} (see --limit)")


def _tell(what: str, letters: list[DeadLetter], *, as_json: bool) -> None:
    if as_json:
        print_json({what: [{"queue": letter.queue, "id": letter.id} for letter in letters]})
        return
    for letter in letters:
        console.print(f"{what} {escape(printable(letter.id))} of {escape(letter.queue)}", soft_wrap=True)
    console.print(f"{len(letters)} {what}")


def _say_unseen(unseen: dict[str, int]) -> None:
    for name, count in unseen.items():
        errors.print(f"{escape(name)}: {count} more were not looked at; raise --limit", soft_wrap=True)


def _age(letter: DeadLetter, now: datetime) -> str:
    if letter.died_at is None:
        return "unknown"
    seconds = max(0, int((now - letter.died_at).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
