"""Writes the manifests that are made from the code (`make manifests`): routes, rules, machines and use cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from radbus_cli.local.front import container_configuration
from radbus_contracts.routes import ROUTES, Route, ServiceName

ROOT = Path(__file__).parents[2]
PORT = 8080
_MONITORING = ROOT / "deploy" / "monitoring"
_RULES_OF_BACKUP = "radbus-backup"
_NOTE = "# Made by `make manifests`; do not edit.\n"
# Gateways of the first releases take no more in one rule.
_MATCHES_OF_A_RULE = 8


def main() -> None:
    """Write them all."""
    for path, text in made().items():
        path.write_text(text)


def made() -> dict[Path, str]:
    """Give each file with its text."""
    components = ROOT / "deploy" / "k8s" / "components"
    return {
        components / "gateway" / "routes.yaml": _documents(http_routes()),
        components / "front" / "nginx.conf": container_configuration(PORT),
        ROOT / "deploy" / "compose" / "nginx.conf": container_configuration(PORT),
        components / "service-pod" / "machines-volume.yaml": _documents([_machines_volume()]),
        components / "monitoring" / "rules.yaml": _documents(prometheus_rules(of_backup=False)),
        components / "backup" / "rules.yaml": _documents(prometheus_rules(of_backup=True)),
        _MONITORING / "dashboards" / "kustomization.yaml": _documents([_dashboards()]),
        ROOT / "triton_models" / "kustomization.yaml": _documents([_config_map("machines", _machine_files())]),
        ROOT / "services" / "router" / "kustomization.yaml": _documents([_config_map("use-cases", _use_case_files())]),
    }


def http_routes() -> list[dict[str, Any]]:
    """Make a HTTPRoute of the Gateway API for each service, by the table of routes."""
    return [_http_route(service, [route for route in ROUTES if route.service is service]) for service in ServiceName]


def _http_route(service: ServiceName, routes: Sequence[Route]) -> dict[str, Any]:
    matches = [match for route in routes for match in _matches(route)]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": service.value, "labels": {"app.kubernetes.io/part-of": "radbus"}},
        "spec": {
            "parentRefs": [{"name": "radbus", "sectionName": "https"}],
            "rules": [
                {
                    "matches": matches[start : start + _MATCHES_OF_A_RULE],
                    "backendRefs": [{"name": service.value, "port": PORT}],
                    # How long is too long is for the service to say: a large study takes its time.
                    "timeouts": {"request": "0s"},
                }
                for start in range(0, len(matches), _MATCHES_OF_A_RULE)
            ],
        },
    }


def _matches(route: Route) -> Iterator[dict[str, Any]]:
    for path in _paths(route):
        for method in route.methods:
            yield {"path": path, "method": method}
        if not route.methods:
            yield {"path": path}


def _paths(route: Route) -> list[dict[str, str]]:
    if "{" in route.path:
        return [{"type": "RegularExpression", "value": route.pattern}]
    bare = route.path.rstrip("/") if route.either_slash else route.path
    return [{"type": "Exact", "value": path} for path in ((bare, f"{bare}/") if route.either_slash else (bare,))]


def prometheus_rules(*, of_backup: bool) -> list[dict[str, Any]]:
    """Wrap each file of rules for the Prometheus Operator: those of the backup, or the others."""
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": path.stem},
            "spec": yaml.safe_load(path.read_text()),
        }
        for path in sorted((_MONITORING / "rules").glob("*.yaml"))
        if (path.stem == _RULES_OF_BACKUP) is of_backup
    ]


def _dashboards() -> dict[str, Any]:
    names = [path.name for path in sorted((_MONITORING / "dashboards").glob("*.json"))]
    made = _config_map("dashboards", {name: name for name in names})
    made["generatorOptions"] = {"labels": {"grafana_dashboard": "1"}}
    return made


def _machine_files() -> dict[str, str]:
    manifests = sorted((ROOT / "triton_models").glob("*/machine.yaml"))
    return {f"{path.parent.name}.yaml": f"{path.parent.name}/machine.yaml" for path in manifests}


def _use_case_files() -> dict[str, str]:
    return {path.name: f"use_cases/{path.name}" for path in sorted((ROOT / "services/router/use_cases").glob("*.yaml"))}


def _config_map(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "configMapGenerator": [{"name": name, "files": [f"{key}={path}" for key, path in files.items()]}],
    }


def _machines_volume() -> dict[str, Any]:
    """Make the patch that gives the machines' manifests, a folder each, to who reads them."""
    items = [{"key": key, "path": path} for key, path in _machine_files().items()]
    mount = {"name": "machines", "mountPath": "/etc/radbus/machines", "readOnly": True}
    container = {
        "name": "service",
        "env": [{"name": "RADBUS_MACHINES_DIR", "value": "/etc/radbus/machines"}],
        "volumeMounts": [mount],
    }
    volume = {"name": "machines", "configMap": {"name": "machines", "items": items}}
    pod = {"containers": [container], "volumes": [volume]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "any"},
        "spec": {"template": {"spec": pod}},
    }


def _documents(documents: Sequence[Mapping[str, Any]]) -> str:
    return _NOTE + yaml.safe_dump_all(documents, sort_keys=False, width=120)


if __name__ == "__main__":
    main()
