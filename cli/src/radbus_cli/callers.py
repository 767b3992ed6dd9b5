"""What the commands for tokens and for users share: what may be given to them, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from radbus_cli.console import console, print_json

if TYPE_CHECKING:
    from radbus_runtime.auth.rights import Rights

Scopes = Annotated[
    list[str] | None, typer.Option("--scope", help="What it may do: store, read or compute; all, if none is given.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A model that it may run and read, by its UUID (`model.id` of an inference, `uuid` of "
        "GET /api/v1/models); any, if none is given.",
    ),
]
RateLimit = Annotated[str | None, typer.Option(help="A limit of its own, such as 600/minute.")]


def rights(scope: list[str] | None, model: list[str] | None, rate_limit: str | None) -> Rights:
    """Return what the options give to a token or a user."""
    from radbus_runtime.auth.principal import ALL_SCOPES, AccessScope

    try:
        scopes = frozenset(map(AccessScope, scope)) if scope else ALL_SCOPES
    except ValueError as error:
        raise typer.BadParameter("expected store, read or compute", param_hint="--scope") from error
    return {"scopes": scopes, "models": tuple(model or ()), "rate_limit": rate_limit}


def rights_shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a token or a user may do, as the commands show it."""
    from radbus_runtime.auth.rights import rights_of

    had = rights_of(record)
    lists = {"scopes": sorted(had["scopes"]), "sources": list(had["sources"]), "models": list(had["models"])}
    return {**lists, "rate_limit": had["rate_limit"]}


def print_records(records: Sequence[Mapping[str, Any]], *, as_json: bool, never: tuple[str, ...] = ()) -> None:
    """Print records; for a person without the columns in which nothing stands, but for those where that means never."""
    if as_json:
        print_json([{name: _in_json(value) for name, value in record.items()} for record in records])
        return
    if not records:
        console.print("there are none")
        return
    names = [name for name in records[0] if name in never or any(record[name] for record in records)]
    table = Table()
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=name == names[0])
    for record in records:
        table.add_row(*(escape(_in_words(record[name]) or ("never" if name in never else "")) for name in names))
    console.print(table)


def _in_json(value: object) -> object:
    return value.astimezone(UTC).isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _in_words(value: list[str] | datetime | str | None) -> str:
    match value:
        case list():
            return " ".join(value)
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case _:
            return value or ""
