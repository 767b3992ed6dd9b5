"""`radbus tokens`: the tokens of institutions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Unpack

import typer
from radbus_runtime.audit.codes import ObjectKind

from radbus_cli.callers import Models, RateLimit, Scopes, print_records, rights, rights_shown
from radbus_cli.console import Json, print_json
from radbus_cli.database import changing_rights, in_database, with_documents

if TYPE_CHECKING:
    from radbus_runtime.auth.rights import Rights
    from radbus_storage.documents import Documents

app = typer.Typer(no_args_is_help=True, help="Tokens of institutions.")

TokenId = Annotated[str, typer.Argument(help="The id that `radbus tokens list` shows.")]
_SECRET_READ = 8192


@app.command()
def create(  # noqa: PLR0913 - one parameter an option
    institution: Annotated[str, typer.Argument(help="Whose data it reads and writes.")],
    *,
    name: Annotated[str, typer.Option(help="What it is for; use cases may refer to it as a source.")] = "cli",
    source: Annotated[list[str] | None, typer.Option(help="A workspace it may name; any, if none is given.")] = None,
    scope: Scopes = None,
    model: Models = None,
    days: Annotated[
        int | None, typer.Option(help="Days until it expires; never, if not given.", min=1, max=36_500)
    ] = None,
    rate_limit: RateLimit = None,
    from_stdin: Annotated[
        bool, typer.Option("--from-stdin", help="Take a secret that the site already has, of 16 characters or more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a token and print it; it is shown this once only."""
    secret = sys.stdin.read(_SECRET_READ).strip() if from_stdin else None
    given = rights(scope, model, rate_limit)
    given["sources"] = tuple(source or ())

    async def work(documents: Documents) -> str:
        return await _create(documents, institution=institution, name=name, days=days, secret=secret, **given)

    _print_new(in_database(work), {"institution": institution, "name": name}, shown=not from_stdin, as_json=as_json)


@app.command("list")
def list_all(
    *,
    institution: Annotated[str | None, typer.Option(help="Only this institution's.")] = None,
    as_json: Json = False,
) -> None:
    """List the tokens: never themselves, of which only digests are kept."""
    from radbus_runtime.auth.keeping import list_tokens
    from radbus_runtime.auth.tokens import ID_LENGTH
    from radbus_storage.records import TOKENS

    found = in_database(lambda documents: list_tokens(documents[TOKENS], institution=institution))
    shown = [
        {
            "id": record["_id"][:ID_LENGTH],
            "institution": record["institution"],
            "name": record["name"],
            **rights_shown(record),
            "created": record["created_at"],
            "expires": record["expires_at"],
            "last_used": record.get("last_used_at"),
        }
        for record in found
    ]
    print_records(shown, never=("expires", "last_used"), as_json=as_json)


@app.command()
def rotate(
    token_id: TokenId,
    *,
    grace_hours: Annotated[float, typer.Option(help="How long the old one is still good.", min=0, max=24 * 366)] = 24,
    as_json: Json = False,
) -> None:
    """Make a token with the same rights in the place of another, and print it; it is shown this once only."""
    from radbus_runtime.auth.keeping import rotate_token
    from radbus_storage.records import TOKENS

    grace = timedelta(hours=grace_hours)

    async def work(documents: Documents) -> str:
        async with changing_rights(documents) as whose:
            token = await rotate_token(documents[TOKENS], token_id, grace=grace)
            whose += [(ObjectKind.TOKEN, _id_of(token)), (ObjectKind.TOKEN, token_id)]
            return token

    token = in_database(work)
    _print_new(token, {"replaces": token_id}, shown=True, as_json=as_json)


@app.command()
def revoke(token_id: TokenId) -> None:
    """Remove a token: it is refused from now on."""
    from radbus_runtime.auth.keeping import revoke_token
    from radbus_storage.records import TOKENS

    async def work(documents: Documents) -> None:
        async with changing_rights(documents) as whose:
            await revoke_token(documents[TOKENS], token_id)
            whose.append((ObjectKind.TOKEN, token_id))

    in_database(work)
    typer.echo(f"revoked {token_id}")


async def create_in(
    environment: Mapping[str, str],
    *,
    institution: str,
    name: str,
    days: int | None = None,
    **given: Unpack[Rights],
) -> str:
    """Make a token in the database that `environment` names."""
    return await with_documents(
        environment,
        lambda documents: _create(documents, institution=institution, name=name, days=days, **given),
    )


async def _create(
    documents: Documents,
    *,
    institution: str,
    name: str,
    days: int | None,
    secret: str | None = None,
    **given: Unpack[Rights],
) -> str:
    from radbus_runtime.auth.tokens import create_token
    from radbus_storage.records import TOKENS

    async with changing_rights(documents, institution=institution) as whose:
        token = await create_token(
            documents[TOKENS], institution=institution, name=name, days=days, secret=secret, **given
        )
        whose.append((ObjectKind.TOKEN, _id_of(token)))
        return token


def _id_of(token: str) -> str:
    from radbus_runtime.auth.tokens import ID_LENGTH, digest

    return digest(token)[:ID_LENGTH]


def _print_new(token: str, more: dict[str, str], *, shown: bool, as_json: bool) -> None:
    token_id = _id_of(token)
    if as_json:
        print_json({"id": token_id, **({"token": token} if shown else {}), **more})
    else:
        typer.echo(token if shown else token_id)
