"""What the rules and the dashboards of deploy/monitoring ask for, read by a parser of PromQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

ROOT = Path(__file__).parents[1]
MONITORING = ROOT / "deploy" / "monitoring"
# What kube-state-metrics tells of the backup's CronJob and its jobs, and the labels that are asked for.
OF_KUBE_STATE_METRICS = {
    "kube_cronjob_created": {"namespace", "cronjob"},
    "kube_cronjob_status_last_successful_time": {"namespace", "cronjob"},
    "kube_job_created": {"namespace", "job_name"},
    "kube_job_failed": {"namespace", "job_name", "condition"},
}

Asked = tuple[str, str, frozenset[str]]
"""Where it is asked, the name of the metric, and the labels that are named with it."""


def rules() -> list[dict[str, Any]]:
    """Read all rules."""
    files = sorted((MONITORING / "rules").glob("*.yaml"))
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Read the alerts by their names."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> frozenset[str]:
    """Name what the recording rules make."""
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


def queries() -> Iterator[tuple[str, str]]:
    """Give every query of rules and dashboards, with where it is asked."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for file in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']}", target["expr"].replace("$__rate_interval", "5m")


def asked_for() -> Iterator[Asked]:
    """Give every metric that is asked for, with the labels that its query selects or groups by."""
    for where, query in queries():
        expression = promql.parse(query)
        yield from _asked(where, expression, frozenset())


def _asked(where: str, node: Any, by: frozenset[str]) -> Iterator[Asked]:
    match node:
        case promql.VectorSelector():
            yield where, node.name, by | {matcher.name for matcher in node.matchers.matchers}
        case promql.MatrixSelector():
            yield from _asked(where, node.vector_selector, by)
        case promql.AggregateExpr():
            grouped = frozenset(node.modifier.labels) if node.modifier else frozenset()
            yield from _asked(where, node.expr, by | grouped)
        case promql.Call():
            for argument in node.args:
                yield from _asked(where, argument, by)
        case promql.BinaryExpr():
            yield from _asked(where, node.lhs, by)
            yield from _asked(where, node.rhs, by)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _asked(where, node.expr, by)
