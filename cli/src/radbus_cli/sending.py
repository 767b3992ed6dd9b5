"""`radbus send` and `radbus results`: a folder in, results out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from radbus_contracts.errors import PermanentError, TransientError
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from radbus_cli.client import Client, expect
from radbus_cli.console import Json, console, errors, print_json, print_result
from radbus_cli.folder import FolderSeries, read_folder
from radbus_cli.target import Target

INSTANCES_A_REQUEST = 50
_POLL_S = 0.2
_UNDER_WAY = 202
_HAS_RESULT = (200, 206)


class TooSlowError(TransientError):
    """No result came in the time that was given."""


class NoResultError(PermanentError):
    """There will be no result for something that was sent."""


def send(
    folder: Annotated[Path, typer.Argument(exists=True, help="A folder, or one file.")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the results and print them.")] = False,
    source: Annotated[str | None, typer.Option(help="The workspace to name as the source.")] = None,
    timeout_s: Annotated[float, typer.Option(help="How long to wait, in seconds.")] = 600,
    as_json: Json = False,
) -> None:
    """Send every DICOM instance below a folder; exit status 1 when one is refused or has no result."""
    client = Client(Target(), source=source)
    series, refused = send_folder(client, folder, quiet=as_json)
    answers = wait_for(client, series, timeout_s=timeout_s, quiet=as_json) if wait else {}
    if as_json:
        print_json({"sent": [each.series_instance_uid for each in series], "refused": refused, "results": answers})
    for uid, answer in ({} if as_json else answers).items():
        _print_answer(uid, answer)
    if refused or any(answer["status"] not in _HAS_RESULT for answer in answers.values()):
        raise typer.Exit(1)


def results(
    uid: Annotated[str, typer.Argument(help="A series', study's or instance's UID.")], *, as_json: Json = False
) -> None:
    """Print the result of a series, study or instance; exit status 1 when there is none."""
    answer = Client(Target()).results(uid)
    if as_json:
        print_json(answer.body)
    else:
        _print_answer(uid, {"status": answer.status, "body": answer.body})
    if answer.status not in _HAS_RESULT:
        raise typer.Exit(1)


def send_folder(client: Client, folder: Path, *, quiet: bool) -> tuple[list[FolderSeries], dict[str, str]]:
    """Send a folder series by series, each said to be complete with its last request; return also what was refused."""
    series, others = read_folder(folder)
    refused = {_name(folder, path): reason for path, reason in others.items()}
    with _progress(quiet=quiet) as progress:
        bar = progress.add_task("sending", total=sum(len(each.paths) for each in series))
        for each in series:
            for paths, last in _requests(each.paths):
                body = expect(client.upload(paths, series_complete=last), 200, 400)
                refused |= _refusals(body, {_name(folder, path): number for number, path in enumerate(paths)})
                progress.advance(bar, len(paths))
    return series, refused


def wait_for(client: Client, series: Sequence[FolderSeries], *, timeout_s: float, quiet: bool) -> dict[str, Any]:
    """Ask for the result of each series until none is under way.

    Raises:
        TooSlowError: Some are still under way after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    answers: dict[str, Any] = {}
    with _progress(quiet=quiet) as progress:
        bars = {each.series_instance_uid: progress.add_task("in work", total=1.0) for each in series}
        while len(answers) < len(bars):
            for uid in [uid for uid in bars if uid not in answers]:
                answer = client.results(uid)
                if answer.status != _UNDER_WAY:
                    answers[uid] = {"status": answer.status, "body": answer.body}
                done = 1.0 if uid in answers else answer.body.get("progress", 0.0)
                progress.update(bars[uid], completed=done)
            if len(answers) == len(bars):
                break
            if time.monotonic() > deadline:
                raise TooSlowError(
                    f"{len(bars) - len(answers)} of {len(bars)} series had no result in {timeout_s:.0f} s"
                )
            time.sleep(_POLL_S)
    return answers


def _requests(paths: Sequence[Path]) -> Iterator[tuple[tuple[Path, ...], bool]]:
    sent = 0
    for batch in _batches(paths):
        sent += len(batch)
        yield batch, sent == len(paths)


def _batches(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    rest = iter(paths)
    while batch := tuple(islice(rest, INSTANCES_A_REQUEST)):
        yield batch


def _name(folder: Path, path: Path) -> str:
    """Name a file so that no two of a folder share a name."""
    return path.name if path == folder else str(path.relative_to(folder))


def _refusals(body: dict[str, Any], numbers: dict[str, int]) -> dict[str, str]:
    """Give the answers of those files for which nothing was recorded."""
    entries = {name: body.get("messages", {}).get(f"file{number}") for name, number in numbers.items()}
    return {name: entry["message"] for name, entry in entries.items() if entry and not entry.get("metadata")}


def _print_answer(uid: str, answer: dict[str, Any]) -> None:
    body = answer["body"] or {}
    if answer["status"] in _HAS_RESULT:
        print_result(uid, body)
        return
    reason = (body.get("debug_info") or {}).get("reason", "")
    said = f"{body.get('message') or body.get('detail') or answer['status']} {reason}"
    errors.print(f"[yellow]{escape(uid)}[/]: {escape(said)}")


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=quiet)
