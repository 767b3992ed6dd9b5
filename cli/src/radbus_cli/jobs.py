"""`radbus jobs` and `radbus compute`: what the scheduler knows, and asking for more."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from radbus_cli.client import Client, expect
from radbus_cli.console import Json, console, print_json
from radbus_cli.target import Target

app = typer.Typer(help="Jobs: list them, stop one.", invoke_without_command=True)


@app.callback()
def list_jobs(
    context: typer.Context,
    *,
    state: Annotated[str | None, typer.Option(help="active, completed, failed or cancelled.")] = None,
    use_case: Annotated[str | None, typer.Option(help="Such as qct.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    as_json: Json = False,
) -> None:
    """List the newest jobs."""
    if context.invoked_subcommand is not None:
        return
    query = {"limit": str(limit)} | ({"state": state} if state else {}) | ({"use_case": use_case} if use_case else {})
    body = expect(Client(Target()).jobs(query), 200)
    if as_json:
        print_json(body)
        return
    table = Table("job", "use case", "state", "priority", "tasks", "why")
    for job in body["jobs"]:
        tasks = ", ".join(f"{task['id']} {task['state']}" for task in job["tasks"])
        cells = (job["id"], job["use_case"], job["state"], job["priority"], tasks, job.get("reason") or "")
        table.add_row(*map(escape, cells))
    console.print(table)


@app.command()
def cancel(job_id: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Ask to stop a job."""
    expect(Client(Target()).cancel(job_id), 202)
    typer.echo(f"asked to stop {job_id}")


def compute(
    uid: Annotated[str, typer.Argument(help="A series', study's or instance's UID.")],
    *,
    recompute: Annotated[bool, typer.Option("--recompute", help="Compute once more what was computed before.")] = False,
) -> None:
    """Ask for computation: of what waits to be asked for, or once more."""
    answer = Client(Target()).compute(uid, recompute=recompute)
    body = expect(answer, 200, 304)
    typer.echo(body["message"] if body else "asked for before; --recompute computes it once more")
