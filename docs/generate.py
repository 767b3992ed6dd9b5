"""Writes the documents that are made from the code: docs/asyncapi.json and docs/settings.md (`make docs`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from radbus_cli.target import TargetSettings
from radbus_contracts.asyncapi import document
from radbus_ingest.settings import IngestSettings
from radbus_results.settings import ResultsSettings
from radbus_router.settings import RouterSettings
from radbus_runtime.settings import ServiceSettings
from radbus_scheduler.settings import SchedulerSettings
from radbus_worker.settings import WorkerSettings

DOCS = Path(__file__).parent
_KINDS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("Every service", ServiceSettings),
    ("ingest", IngestSettings),
    ("router", RouterSettings),
    ("scheduler", SchedulerSettings),
    ("worker", WorkerSettings),
    ("results", ResultsSettings),
    ("The command `radbus`", TargetSettings),
)


def main() -> None:
    """Write both."""
    (DOCS / "asyncapi.json").write_text(json.dumps(document(), indent=2) + "\n")
    (DOCS / "settings.md").write_text(settings_page())


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Read from the environment at start. Made by `make docs` from the code; do not edit.",
        "",
    ]
    for title, kind in _KINDS:
        own = dict(_own_fields(kind))
        lines += [f"## {title}", "", "| variable | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `RADBUS_{name.upper()}` | {_default(field)} | {field.description or ''} |"
            for name, field in own.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _own_fields(kind: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        if kind is ServiceSettings or name not in ServiceSettings.model_fields:
            yield name, field


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "computed"
    if field.default is PydanticUndefined:
        return "required"
    return "none" if field.default in (None, ()) else f"`{field.default}`"


if __name__ == "__main__":
    main()
