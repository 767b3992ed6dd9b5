"""The panels of a dashboard, and how Grafana has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH, _HEIGHT, _A_ROW = 8, 8, 3
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; each query has the legend of its lines. `kind` is timeseries or stat."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    says: str = ""


def quantile(share: float, metric: str, by: str, where: str = "") -> str:
    """Ask for a quantile of a histogram."""
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{where}[$__rate_interval])))"


def rate(metric: str, by: str, where: str = "") -> str:
    """Ask for a counter's rate."""
    return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"


def stage(title: str, name: str, by: str = "machine") -> Panel:
    """Show the times of one stage."""
    where = f'{{stage="{name}"}}'
    legend = "{{machine}}" if by == "machine" else name
    return Panel(
        title,
        "s",
        [
            (quantile(0.5, "radbus_stage_duration_seconds", by, where), f"p50 {legend}"),
            (quantile(0.95, "radbus_stage_duration_seconds", by, where), f"p95 {legend}"),
        ],
    )


def dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """Make one dashboard, three panels a row."""
    variable = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"radbus-{name}",
        "title": title,
        "tags": ["radbus"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [variable]},
        "links": [{"type": "dashboards", "tags": ["radbus"], "title": "radbus", "asDropdown": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _A_ROW)
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }
