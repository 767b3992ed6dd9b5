"""`radbus users`: who may log in with a key of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from radbus_runtime.audit.codes import ObjectKind

from radbus_cli.callers import Models, RateLimit, Scopes, print_records, rights, rights_shown
from radbus_cli.console import Json
from radbus_cli.database import changing_rights, in_database

if TYPE_CHECKING:
    from radbus_storage.documents import Documents

app = typer.Typer(no_args_is_help=True, help="Users who log in with a key of their own.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The username that the user's JWTs claim.")],
    *,
    institution: Annotated[str, typer.Option(help="Whose data the user reads and writes.")],
    public_key: Annotated[
        Path, typer.Option(help="File with the user's RSA public key in PEM.", exists=True, dir_okay=False)
    ],
    scope: Scopes = None,
    model: Models = None,
    issuer: Annotated[
        str | None, typer.Option(help="The issuer that the user's JWTs must name; any, if not given.")
    ] = None,
    rate_limit: RateLimit = None,
) -> None:
    """Register a user."""
    from radbus_runtime.auth.keeping import add_user
    from radbus_storage.records import USERS

    pem = public_key.read_bytes()
    given = rights(scope, model, rate_limit)

    async def work(documents: Documents) -> None:
        async with changing_rights(documents, institution=institution) as whose:
            users = documents[USERS]
            await add_user(users, name=name, institution=institution, public_key=pem, issuer=issuer, **given)
            whose.append((ObjectKind.USER, name))

    in_database(work)
    typer.echo(f"added {name}")


@app.command("list")
def list_all(
    *,
    institution: Annotated[str | None, typer.Option(help="Only this institution's.")] = None,
    as_json: Json = False,
) -> None:
    """List the users."""
    from radbus_runtime.auth.keeping import list_users
    from radbus_runtime.auth.users import fingerprint
    from radbus_storage.records import USERS

    found = in_database(lambda documents: list_users(documents[USERS], institution=institution))
    shown = [
        {
            "name": record["_id"],
            "institution": record["institution"],
            "key": fingerprint(record["public_key"]),
            "issuer": record["issuer"],
            **rights_shown(record),
            "created": record["created_at"],
        }
        for record in found
    ]
    print_records(shown, as_json=as_json)


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The user's name.")]) -> None:
    """Remove a user, who is refused from now on."""
    from radbus_runtime.auth.keeping import remove_user
    from radbus_storage.records import USERS

    async def work(documents: Documents) -> None:
        async with changing_rights(documents) as whose:
            await remove_user(documents[USERS], name)
            whose.append((ObjectKind.USER, name))

    in_database(work)
    typer.echo(f"removed {name}")
