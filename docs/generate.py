"""Writes the documents that are made from the code (`make docs`): asyncapi.json, api/*.json, settings.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from radbus_cli.local.environment import service_environment
from radbus_cli.local.layout import DEFAULT_BASE_PORT, Layout
from radbus_cli.target import TargetSettings
from radbus_contracts.asyncapi import document
from radbus_ingest import app as ingest
from radbus_ingest.settings import IngestSettings
from radbus_results import app as results
from radbus_results.settings import ResultsSettings
from radbus_router import app as router
from radbus_router.settings import RouterSettings
from radbus_runtime.service import Service
from radbus_runtime.settings import ServiceSettings
from radbus_scheduler import app as scheduler
from radbus_scheduler.settings import SchedulerSettings
from radbus_worker.settings import WorkerSettings

S = TypeVar("S", bound=ServiceSettings)

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
    """Write them all."""
    (DOCS / "asyncapi.json").write_text(_json(document()))
    for name, api in open_api_documents().items():
        (DOCS / "api" / f"{name}.json").write_text(_json(api))
    (DOCS / "settings.md").write_text(settings_page())


def open_api_documents() -> dict[str, dict[str, Any]]:
    """Return what each service says of its routes, with the answers that were recorded as examples."""
    # Nothing is reached at an address before a service runs.
    settings = service_environment(Layout(Path("/nowhere"), DEFAULT_BASE_PORT), {})
    services = (
        ingest.create_app(_settings(IngestSettings, settings)),
        router.create_app(_settings(RouterSettings, settings)),
        scheduler.create_app(_settings(SchedulerSettings, settings)),
        results.create_app(_settings(ResultsSettings, settings)),
    )
    examples = json.loads((DOCS / "api" / "examples.json").read_text())
    return {service.name: _with_examples(service, examples) for service in services}


def _settings(kind: type[S], environment: Mapping[str, str]) -> S:
    named = {name.removeprefix("RADBUS_").lower(): value for name, value in environment.items()}
    return kind.model_validate({name: value for name, value in named.items() if name in kind.model_fields})


def _with_examples(service: Service, examples: Mapping[str, Any]) -> dict[str, Any]:
    """Put the recorded answers, `METHOD path status` by key, where the document speaks of them."""
    made = service.api.openapi()
    for operation, example in examples.items():
        method, path, status = operation.split(" ")
        answers = made["paths"].get(path, {}).get(method.lower(), {}).get("responses", {})
        if status in answers and example["body"] is not None:
            content = answers[status].setdefault("content", {})
            content.setdefault(example["content_type"], {})["example"] = example["body"]
    return made


def _json(made: Mapping[str, Any]) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


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
