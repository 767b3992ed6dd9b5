"""What the commands print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FILES_OF_A_KIND = 6

console = Console()
errors = Console(stderr=True)


def log_to_stderr() -> None:
    """Let what the libraries log pass by what a command prints; of an exception only what a service's log has."""
    import structlog
    from radbus_runtime.logs import render_exception

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render_exception,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def print_json(value: Any) -> None:
    """Print JSON on stdout and nothing else."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def printable(text: str) -> str:
    """Leave nothing that a terminal would obey: a message may hold anything."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def _in_words(report: object) -> str:
    """Give a report as one text, also where findings and impression are told apart."""
    if isinstance(report, dict):
        return "\n".join(str(report[part]) for part in ("impression", "findings") if report.get(part))
    return str(report)


def _number(value: float) -> str:
    """Write a number to four places, as the report does."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def print_result(uid: str, body: dict[str, Any]) -> None:
    """Print one answer of `GET /results` for a person."""
    result = body.get("result") or {}
    colour = "red" if body.get("triage_status") == "Critical" else "green"
    lines = [
        f"[bold]{escape(str(body.get('usecase')))}[/]   [{colour}]{body.get('triage_status', '')}[/]",
        escape(_in_words(result.get("report", ""))),
    ]
    console.print(Panel("\n".join(lines), title=f"result of {escape(uid)}", expand=False))
    if result.get("measurements"):
        table = Table("measurement", "value", "unit")
        for each in result["measurements"]:
            table.add_row(escape(str(each["title"])), _number(each["value"]), escape(str(each["unit"])))
        console.print(table)
    for limit in result.get("limits", ()):
        console.print(f"[yellow]note:[/] {escape(str(limit))}")
    shown: set[str] = set()
    for kind, urls in (result.get("files") or {}).items():
        new = [url for url in urls if url not in shown]  # some files have two names
        shown.update(new)
        for url in new[:_FILES_OF_A_KIND]:
            console.print(f"[dim]{escape(kind):16}[/] {escape(url)}", soft_wrap=True)
        if len(new) > _FILES_OF_A_KIND:
            console.print(f"[dim]{escape(kind):16}[/] and {len(new) - _FILES_OF_A_KIND} more: --json has them")
    if result.get("disclaimer"):
        console.print(f"[italic]{result['disclaimer']}[/]")
