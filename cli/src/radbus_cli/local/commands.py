"""`radbus up`, `down`, `status` and `logs`: the local stack by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from radbus_cli.local.errors import StackError
from radbus_cli.local.layout import DEFAULT_BASE_PORT, MAX_REPLICAS, default_root
from radbus_cli.local.stack import LocalStack, ProgramStatus

Root = Annotated[
    Path | None,
    typer.Option(envvar="RADBUS_STACK_ROOT", help="The stack's folder; by default .local/stack in the repository."),
]
BasePort = Annotated[
    int,
    typer.Option(envvar="RADBUS_STACK_BASE_PORT", help="The first of the hundred ports that the stack may use."),
]
Workers = Annotated[int, typer.Option(help="How many workers run.", min=0)]
Replicas = Annotated[
    int | None,
    typer.Option(
        help="How many of each other service run, such as ingest-0 and ingest-1; as now, else 1.",
        min=1,
        max=MAX_REPLICAS,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the four commands to the operator's command."""
    for command in (up, down, status, logs):
        app.command()(command)


def up(
    *,
    root: Root = None,
    base_port: BasePort = DEFAULT_BASE_PORT,
    workers: Workers = 2,
    replicas: Replicas = None,
    services: Annotated[
        bool, typer.Option(help="Start radbus's services and the front too, not only the servers.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Start the local stack and wait until it is ready."""
    stack = LocalStack(root or default_root(), base_port, workers=workers, replicas=replicas)
    statuses = stack.up(services=services)
    _show(statuses, as_json=as_json)


def down(
    *,
    root: Root = None,
    base_port: BasePort = DEFAULT_BASE_PORT,
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove its data too.")] = False,
) -> None:
    """Stop the local stack."""
    stack = LocalStack(root or default_root(), base_port)
    stack.down()
    if wipe:
        stack.wipe()


def status(
    *,
    root: Root = None,
    base_port: BasePort = DEFAULT_BASE_PORT,
    workers: Workers = 2,
    replicas: Replicas = None,
    as_json: Json = False,
) -> None:
    """Show what runs and whether it is ready; the exit status is 1 unless everything is."""
    statuses = LocalStack(root or default_root(), base_port, workers=workers, replicas=replicas).status()
    _show(statuses, as_json=as_json)
    if not all(each.ready for each in statuses):
        raise typer.Exit(1)


def logs(
    name: Annotated[str, typer.Argument(help="A program, such as rabbitmq, front, ingest or worker-0.")],
    *,
    root: Root = None,
    base_port: BasePort = DEFAULT_BASE_PORT,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines to print.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each new line.")] = False,
) -> None:
    """Print a program's log."""
    stack = LocalStack(root or default_root(), base_port)
    known = sorted(path.stem for path in stack.layout.log("any").parent.glob("*.log"))
    if name not in known:
        raise StackError(f"There is no log of {name!r}; there are: {', '.join(known) or 'none yet, run `radbus up`'}.")
    for line in stack.logs(name, lines=lines, follow=follow):
        typer.echo(line)


def _show(statuses: list[ProgramStatus], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(each) for each in statuses], indent=2))
        return
    table = Table("program", "state", "ready", "port", "pid", "up")
    for each in statuses:
        table.add_row(
            each.name,
            each.state.lower(),
            "[green]yes[/]" if each.ready else "[red]no[/]",
            str(each.port or ""),
            str(each.pid or ""),
            f"{each.uptime_s} s" if each.pid else "",
        )
    Console().print(table)
