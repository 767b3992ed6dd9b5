"""`radbus doctor`: what is there, what answers, and what to do about the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
import typer
from rich.table import Table

from radbus_cli.console import Json, console, print_json
from radbus_cli.local.layout import SINGLE_SERVICES
from radbus_cli.target import Target

_TOOLS = {
    "rabbitmq-server": "the local broker; `make install`",
    "nginx": "the one address of the local stack; `make install`",
    "dciodvfy": "checks DICOM objects in the tests; `make install`",
    "storescu": "sends DICOM in the tests; `make install`",
}
_MIN_FREE_GB = 5


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at."""

    name: str
    well: bool
    says: str


def doctor(*, as_json: Json = False) -> None:
    """Look at tools, disk and services; exit status 1 when something is amiss."""
    found = [*_tools(), _disk(), *_services(Target())]
    if as_json:
        print_json([{"name": each.name, "well": each.well, "says": each.says} for each in found])
    else:
        table = Table("", "what", "says")
        for each in found:
            table.add_row("[green]ok[/]" if each.well else "[red]!![/]", each.name, each.says)
        console.print(table)
    if not all(each.well for each in found):
        raise typer.Exit(1)


def _tools() -> list[Diagnosis]:
    return [Diagnosis(tool, shutil.which(tool) is not None, use) for tool, use in _TOOLS.items()]


def _disk() -> Diagnosis:
    free_gb = shutil.disk_usage(".").free / 1e9
    return Diagnosis("disk", free_gb > _MIN_FREE_GB, f"{free_gb:.0f} GB free, expected more than {_MIN_FREE_GB}")


def _services(target: Target) -> list[Diagnosis]:
    front = _asked("front", target.url, "/healthz", judged_front)
    if not target.is_local:
        return [front]
    known = target.stack.status()
    workers = [each.name for each in known if each.name.startswith("worker-") and each.pid]
    # Those of several replicas have numbers behind their names.
    singles = [each.name for each in known if each.name.partition("-")[0] in SINGLE_SERVICES]
    names = (*(singles or SINGLE_SERVICES), *workers)
    found = [front, *(_asked(name, target.stack.url(name), "/readyz", judged) for name in names)]
    if not workers:
        found.append(Diagnosis("workers", well=False, says="none runs; try `radbus up`"))
    return found


def _asked(name: str, url: str, path: str, judge: Callable[[str, str, httpx2.Response], Diagnosis]) -> Diagnosis:
    try:
        answer = httpx2.get(f"{url}{path}", timeout=5)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Diagnosis(name, well=False, says=f"{type(error).__name__} at {url}; try `radbus up`")
    return judge(name, url, answer)


def judged_front(name: str, url: str, answer: httpx2.Response) -> Diagnosis:
    """Judge what came from the one address, which tells no more than that it is there."""
    well = answer.status_code == 200 and answer.text.replace(" ", "") == '{"status":"ok"}'
    return Diagnosis(name, well=well, says=f"answers at {url}" if well else _another(url, answer))


def judged(name: str, url: str, answer: httpx2.Response) -> Diagnosis:
    """Judge what came from the address of a service."""
    try:
        checks = dict(answer.json()["checks"])
    except (KeyError, TypeError, ValueError):
        return Diagnosis(name, well=False, says=_another(url, answer))
    faults = ", ".join(f"{check}: {says}" for check, says in checks.items() if says != "ok")
    return Diagnosis(name, well=answer.status_code == 200, says=faults or "ready")


def _another(url: str, answer: httpx2.Response) -> str:
    return f"not a service of radbus at {url}: it answered {answer.status_code}"
