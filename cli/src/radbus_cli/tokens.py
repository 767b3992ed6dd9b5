"""`radbus tokens create`: a token of an institution."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer
from pydantic import SecretStr

from radbus_cli.console import Json, print_json
from radbus_cli.target import Target

app = typer.Typer(no_args_is_help=True, help="Tokens of institutions.")


@app.command()
def create(
    institution: Annotated[str, typer.Argument(help="Whose data it reads and writes.")],
    *,
    name: Annotated[str, typer.Option(help="What it is for; use cases may refer to it as a source.")] = "cli",
    source: Annotated[list[str] | None, typer.Option(help="A workspace it may name; any, if none is given.")] = None,
    days: Annotated[
        int | None, typer.Option(help="Days until it expires; never, if not given.", min=1, max=36_500)
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it; it is shown this once only."""
    environment = Target().stack.environment()
    token = asyncio.run(
        create_in(environment, institution=institution, name=name, sources=tuple(source or ()), days=days)
    )
    if as_json:
        print_json({"token": token, "institution": institution, "name": name})
    else:
        typer.echo(token)


async def create_in(
    environment: Mapping[str, str],
    *,
    institution: str,
    name: str,
    sources: tuple[str, ...] = (),
    days: int | None = None,
) -> str:
    """Make a token in the database that `environment` names."""
    from radbus_runtime.auth.tokens import create_token
    from radbus_storage.documents import Documents
    from radbus_storage.records import TOKENS
    from radbus_storage.settings import DocumentSettings

    documents = Documents(
        DocumentSettings(url=SecretStr(environment["RADBUS_MONGO_URL"]), database=environment["RADBUS_MONGO_DATABASE"])
    )
    try:
        return await create_token(documents[TOKENS], institution=institution, name=name, sources=sources, days=days)
    finally:
        documents.close()
