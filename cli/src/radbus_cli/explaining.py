"""`radbus explain` and `radbus use-cases check`: why a series is, or is not, for a use case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from radbus_cli.client import Client, expect
from radbus_cli.console import Json, console, print_json
from radbus_cli.folder import FolderSeries, read_folder
from radbus_cli.target import Target

use_cases = typer.Typer(no_args_is_help=True, help="Use cases.")

_COLOURS = {"yes": "green", "no": "red", "unknown": "yellow"}


def explain(
    folder: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM; nothing of it is stored.")],
    *,
    source: Annotated[str | None, typer.Option(help="The workspace it would come from.")] = None,
    as_json: Json = False,
) -> None:
    """Say for each series of a folder which use cases would match and why not."""
    client = Client(Target())
    series, _ = read_folder(folder)
    told = {each.series_instance_uid: _ask(client, each, source) for each in series}
    if as_json:
        print_json(told)
        return
    for uid, answers in told.items():
        table = Table("use case", "condition", "answer", "because", title=uid, title_justify="left")
        for use_case in answers:
            table.add_row(
                f"[bold]{use_case['use_case']}[/]", "", "[green]matches[/]" if use_case["matched"] else "[red]no[/]", ""
            )
            for condition in use_case["conditions"]:
                answer = condition["answer"]
                why = condition.get("reason") or condition.get("expression") or ""
                table.add_row("", escape(condition["name"]), f"[{_COLOURS[answer]}]{answer}[/]", escape(why))
        console.print(table)


def _ask(client: Client, series: FolderSeries, source: str | None) -> list[dict[str, Any]]:
    body = expect(client.explain([series.attributes], {"dialect": "upload", "workspace": source}), 200)
    told: list[dict[str, Any]] = body["series"][0]["use_cases"]
    return told


def check(
    folders: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="Folders of use cases.")],
) -> None:
    """Check use cases as the router does at its start; exit status 1 with every fault, a line each."""
    from radbus_router.adapters.use_case_files import load_use_cases

    for use_case in load_use_cases(*folders):
        console.print(f"[green]ok[/] {use_case.use_case} {use_case.version}: {use_case.title}", highlight=False)


use_cases.command()(check)


@use_cases.callback()
def _group() -> None:
    """Keep `check` a command of its own."""
