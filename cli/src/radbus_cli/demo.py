"""`radbus demo`: start everything, send a chest CT, wait for its result, say where to look."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from radbus_cli.client import Client
from radbus_cli.console import Json, console, print_json, print_result
from radbus_cli.sending import NoResultError, send_folder, wait_for
from radbus_cli.target import TOKEN_FILE, Target
from radbus_cli.tokens import create_in

INSTITUTION = "demo"


def demo(
    folder: Annotated[
        Path | None, typer.Argument(exists=True, help="DICOM to send; by default a phantom that is made.")
    ] = None,
    *,
    timeout_s: Annotated[float, typer.Option(help="How long to wait for the result, in seconds.")] = 300,
    as_json: Json = False,
) -> None:
    """Start the local stack, send a chest CT, and print its result."""
    target = Target()
    _say("starting RabbitMQ, MongoDB, the object store, Triton and the services ...", quiet=as_json)
    target.stack.up()
    if not target.token_file.exists():
        token = asyncio.run(create_in(target.stack.environment(), institution=INSTITUTION, name="demo"))
        target.token_file.touch(mode=0o600)
        target.token_file.write_text(token)
    client = Client(target)
    with TemporaryDirectory() as made:
        if folder is None:
            _say("making a chest phantom ...", quiet=as_json)
            _write_phantom(Path(made))
        series, _ = send_folder(client, folder or Path(made), quiet=as_json)
    answers = wait_for(client, series, timeout_s=timeout_s, quiet=as_json)
    for uid, answer in answers.items():
        if answer["status"] not in (200, 206):
            raise NoResultError(f"no result for {uid}: {answer['body'].get('message')}")
        if not as_json:
            print_result(uid, answer["body"])
    bodies = [answer["body"] for answer in answers.values()]
    print_json(bodies[0] if len(bodies) == 1 else bodies)
    _say_where_to_look(target, quiet=as_json)


def _write_phantom(folder: Path) -> None:
    from radbus_testing.phantom import chest_phantom
    from radbus_testing.phantom_dicom import write_phantom

    write_phantom(folder, chest_phantom())


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        console.print(f"[bold]{text}[/]")


def _say_where_to_look(target: Target, *, quiet: bool) -> None:
    for text in (
        "",
        "The stack goes on running. Try:",
        "  radbus send <folder> --wait     send your own studies",
        "  radbus jobs                     what the scheduler knows",
        "  radbus events tail              what happens on the bus",
        "  radbus logs worker-0            what a worker says",
        "  radbus down                     stop it all",
        f"Clients find all of it at {target.url}",
        f"Data, logs, traces and the token ({TOKEN_FILE}) are in {target.stack.layout.root}",
    ):
        if not quiet:
            console.print(text, highlight=False, soft_wrap=True)
