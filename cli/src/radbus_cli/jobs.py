"""`radbus jobs` and `radbus compute`: what the scheduler knows, and asking for more."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from radbus_cli.client import Answer, Client, expect
from radbus_cli.console import Json, console, errors, print_json
from radbus_cli.filters import Yes, duration_of
from radbus_cli.jobs_meant import Done, Job, Wanted, do_with_each
from radbus_cli.target import Target

app = typer.Typer(help="Jobs: list, stop, retry or rerun them.", invoke_without_command=True)

_CONFLICT = 409

Id = Annotated[str | None, typer.Argument(metavar="ID", help="The job's id; without, all that the filters mean.")]
UseCase = Annotated[str | None, typer.Option(help="Only this use case's, such as qct.")]
Since = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration_of, metavar="TIME", help="Only those asked for at most so long ago: 90s, 30m, 2h, 7d."
    ),
]
Limit = Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=100_000)]


class Unsuccessful(StrEnum):
    """The states of a job that can be retried."""

    FAILED = "failed"
    CANCELLED = "cancelled"


class Ended(StrEnum):
    """The states of a job that can be run once more."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


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
    table = Table()
    table.add_column("job", overflow="fold")  # an id must be there whole, to be given to the other commands
    for column in ("use case", "state", "priority", "tasks", "why"):
        table.add_column(column)
    for job in body["jobs"]:
        tasks = ", ".join(f"{task['id']} {task['state']}" for task in job["tasks"])
        cells = (job["id"], job["use_case"], job["state"], job["priority"], tasks, job.get("reason") or "")
        table.add_row(*map(escape, cells))
    console.print(table)


@app.command()
def cancel(
    job_id: Id = None,
    *,
    use_case: UseCase = None,
    since: Since = None,
    limit: Limit = 1000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Stop a job, or all active ones that the filters mean (with --yes)."""
    wanted = Wanted(job_id, None, use_case, since, limit)
    done = do_with_each(
        Client(Target()), wanted, lambda client, job: client.cancel(job["id"]), otherwise="active", is_sure=yes
    )
    _tell("cancelled", done, as_json=as_json)


@app.command()
def retry(
    job_id: Id = None,
    *,
    state: Annotated[Unsuccessful | None, typer.Option(help="Which ones; failed, if not given.")] = None,
    use_case: UseCase = None,
    since: Since = None,
    limit: Limit = 1000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let a job go on that has failed or was cancelled: what has succeeded stays, the rest begins anew."""
    wanted = Wanted(job_id, state, use_case, since, limit)
    done = do_with_each(
        Client(Target()), wanted, lambda client, job: client.retry(job["id"]), otherwise="failed", is_sure=yes
    )
    _tell("retried", done, as_json=as_json)


@app.command()
def rerun(
    job_id: Id = None,
    *,
    state: Annotated[Ended | None, typer.Option(help="Which ones; completed, if not given.")] = None,
    use_case: UseCase = None,
    since: Since = None,
    limit: Limit = 1000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run a job that has ended once more, as a new job, whose result takes the place of the older one's."""
    wanted = Wanted(job_id, state, use_case, since, limit)
    done = do_with_each(Client(Target()), wanted, _run_once_more, otherwise="completed", is_sure=yes)
    _tell("rerun", done, as_json=as_json)


def _run_once_more(client: Client, job: Job) -> Answer:
    if job["state"] not in set(Ended):
        return Answer(_CONFLICT, {"message": f"expected a job that has ended; this one is {job['state']}"})
    if job["scope"] == "archive":
        return Answer(_CONFLICT, {"message": "expected a job on series; this one was a run, whose zip is erased"})
    return client.rerun(job["subject_uid"], job["id"])


def _tell(what: str, done: Done, *, as_json: bool) -> None:
    if as_json:
        print_json({what: done.done, "refused": done.refused, "untried": done.untried, "more": done.more})
    else:
        for job in done.done:
            new = f" as {job['job_id']}" if "job_id" in job else ""
            console.print(escape(f"{what} {job['id']} ({job['use_case']}){new}"), soft_wrap=True, highlight=False)
        console.print(f"{len(done.done)} {what}")
    for job in done.refused:
        errors.print(escape(f"{job['id']}: {job['reason']}"), soft_wrap=True, highlight=False)
    if done.untried:
        errors.print(f"{done.untried} more were not tried")
    if done.more:
        errors.print("more are meant; do the same again, or raise --limit")
    if done.refused:
        raise typer.Exit(1)


def compute(
    uid: Annotated[str, typer.Argument(help="A series', study's or instance's UID.")],
    *,
    recompute: Annotated[bool, typer.Option("--recompute", help="Compute once more what was computed before.")] = False,
) -> None:
    """Ask for computation: of what waits to be asked for, or once more."""
    answer = Client(Target()).compute(uid, recompute=recompute)
    body = expect(answer, 200, 304)
    typer.echo(body["message"] if body else "asked for before; --recompute computes it once more")
