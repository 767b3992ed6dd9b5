"""The rendered overlays, and the tools that look at them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings
from radbus_cli.local.environment import service_environment
from radbus_cli.local.layout import DEFAULT_BASE_PORT, Layout

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".local" / "k8s-venv" / "bin"
OVERLAYS = ("local", "staging", "production")
Manifest = dict[str, Any]


def tool(name: str, *arguments: str, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    """Run one of the tools that `make install` puts there."""
    return subprocess.run(
        [str(TOOLS / name), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@cache
def rendered_text(overlay: str) -> str:
    done = tool("kubectl", "kustomize", f"deploy/k8s/overlays/{overlay}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    return tuple(yaml.load_all(rendered_text(overlay), Loader=yaml.CSafeLoader))


def pods(manifest: Manifest) -> Iterator[Manifest]:
    """Give the pod that a workload describes, if it is one."""
    if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
        yield manifest["spec"]["template"]
    elif manifest["kind"] == "CronJob":
        yield manifest["spec"]["jobTemplate"]["spec"]["template"]


def containers(manifest: Manifest) -> Iterator[Manifest]:
    for pod in pods(manifest):
        yield from pod["spec"].get("initContainers", [])
        yield from pod["spec"]["containers"]


def in_bytes(quantity: object) -> float:
    """Return a quantity of Kubernetes as a number, of processors in processors."""
    number, suffix = re.fullmatch(r"([0-9.]+)(m|[KMGT]i|)", str(quantity)).groups()
    return float(number) * {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}[suffix]


def given_on_the_local_stack(kind: type[BaseSettings]) -> set[str]:
    """Name the settings that a service reads and the local stack gives, but for those that it would have anyway.

    Traces are kept there in files; elsewhere a collector is the site's to name.
    """
    given = service_environment(Layout(ROOT, DEFAULT_BASE_PORT), {})
    return {
        name
        for name, field in kind.model_fields.items()
        if name != "traces" and given.get(f"RADBUS_{name.upper()}", field.default) != field.default
    }


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def manifests(overlay: str) -> tuple[Manifest, ...]:
    return rendered(overlay)


@pytest.fixture
def of_kind(manifests: tuple[Manifest, ...]) -> Callable[..., list[Manifest]]:
    return lambda *kinds: [each for each in manifests if each["kind"] in kinds]
