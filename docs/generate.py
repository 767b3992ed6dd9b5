"""Writes the documents that are made from the code (`make docs`): asyncapi.json, api/*, settings.md, metrics.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from radbus_cli.local.environment import service_environment
from radbus_cli.local.layout import DEFAULT_BASE_PORT, Layout
from radbus_cli.target import TargetSettings
from radbus_contracts.asyncapi import document
from radbus_ingest import app as ingest
from radbus_ingest.adapters import metrics as ingest_metrics
from radbus_ingest.settings import IngestSettings
from radbus_results import app as results
from radbus_results.adapters import metrics as results_metrics
from radbus_results.settings import ResultsSettings
from radbus_router import app as router
from radbus_router.settings import RouterSettings
from radbus_runtime import metrics as runtime_metrics
from radbus_runtime.retention import metrics as retention_metrics
from radbus_runtime.service import Service
from radbus_runtime.settings import ServiceSettings
from radbus_scheduler import app as scheduler
from radbus_scheduler.adapters import metrics as scheduler_metrics
from radbus_scheduler.settings import SchedulerSettings
from radbus_worker.adapters import metrics as worker_metrics
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
# In the order in which a series meets them.
METRICS: tuple[tuple[str, ModuleType], ...] = (
    ("Every service", runtime_metrics),
    ("ingest", ingest_metrics),
    ("scheduler", scheduler_metrics),
    ("worker", worker_metrics),
    ("results", results_metrics),
    ("results, what retention does", retention_metrics),
)
_METRICS_HEAD = """# Metrics

What `/metrics` of each service shows, beside those of the process (`process_*`, `python_*`). Made by `make
docs` from the code; do not edit. Units are in the names: seconds and bytes; a counter ends in `_total`; a
histogram has `_bucket`, `_sum` and `_count`.

* Labels have few values: use cases, machines and pools are a site's own files; queues, routes and stages are
  in the code. No UID, no institution and nothing of a patient is ever a label.
* What is *of the database* (tasks, slots, ages) every replica says alike: ask for `max by (...)`, never for
  the sum. Counters and histograms are of one process each: sum their rates.
* A wait between services is measured by the times in the records, with the database's clock, once, where it
  ends. So it is right with any number of replicas and after a restart of any of them.
* A pool of workers is scaled by `max by (pool) (radbus_tasks{state=~"ready|dispatched|running"})` and
  `max by (pool) (radbus_oldest_ready_task_age_seconds)`: both are 0 where nothing waits, also for a pool without a
  worker. Ingest is scaled by `sum(radbus_ingest_waiting_bytes)` or `max(radbus_admission_load)`.
* Triton shows its own (`nv_inference_*`) at its metrics port.
* What is alerted on is in the [runbook](runbook.md), what is promised in the [objectives](slo.md).

"""


def main() -> None:
    """Write them all."""
    (DOCS / "asyncapi.json").write_text(_json(document()))
    for name, api in open_api_documents().items():
        (DOCS / "api" / f"{name}.json").write_text(_json(api))
    (DOCS / "settings.md").write_text(settings_page())
    (DOCS / "metrics.md").write_text(metrics_page())


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


def metrics_page() -> str:
    """Return docs/metrics.md."""
    lines = [_METRICS_HEAD]
    for title, module in METRICS:
        lines += [f"## {title}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        for metric in metrics_of(module):
            family = next(iter(metric.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - nothing else tells them
            lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
        lines.append("")
    return "\n".join(lines)


def metrics_of(module: ModuleType) -> Iterator[MetricWrapperBase]:
    """Give the metrics that a module spells."""
    return (each for each in vars(module).values() if isinstance(each, MetricWrapperBase))


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
