"""Ask an API server whether it takes every object of every overlay, and change nothing (`make k8s-accept`).

The server that KUBECONFIG names looks at each object as at one that is to be made (`--dry-run=server`): at its fields,
and what admission says. It must have the namespace `radbus`. An object of an API that it does not serve, such as a
custom resource whose operator is not there, is counted as not asked; where it serves the form before, that is asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("local", "staging", "production")
# What servers had before, field by field the same for what is used of it here.
EARLIER = {"policy/v1/PodDisruptionBudget": "policy/v1beta1", "batch/v1/CronJob": "batch/v1beta1"}
_KUBECTL = ROOT / ".local" / "k8s-venv" / "bin" / "kubectl"
_TIMEOUT_S = 60

Manifest = dict[str, Any]


def main(overlays: Sequence[str]) -> int:
    """Print what was refused, and how many of each kind were taken or not asked; 1 where anything was refused."""
    served = _served()
    refused = False
    for overlay in overlays or OVERLAYS:
        taken: Counter[str] = Counter()
        unasked: Counter[str] = Counter()
        for manifest in _rendered(overlay):
            asked = _as_served(manifest, served)
            kind = _kind(asked)
            if kind not in served:
                unasked[kind] += 1
                continue
            done = _kubectl("create", "--dry-run=server", "--filename", "-", sent=json.dumps(asked))
            taken[kind] += done.returncode == 0
            if done.returncode != 0:
                refused = True
                print(f"{overlay}: refused {kind} {manifest['metadata']['name']}: {done.stderr.strip()}")
        for what, counted in (("taken", taken), ("not asked", unasked)):
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counted.items()))
            print(f"{overlay}: {what} {counted.total()}: {kinds}")
    return 1 if refused else 0


def _kubectl(*arguments: str, sent: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(_KUBECTL), *arguments]
    return subprocess.run(command, input=sent, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)


def _served() -> set[str]:
    """Return what the server knows, each as group, version and kind."""
    done = _kubectl("api-resources", "--no-headers", "--request-timeout=30s")
    if done.returncode != 0:
        raise SystemExit(f"expected KUBECONFIG to name a cluster that answers: {done.stderr.strip()}")
    # Short names may be absent, so from the end: API, whether in a namespace, kind.
    return {f"{words[-3]}/{words[-1]}" for words in map(str.split, done.stdout.splitlines())}


def _rendered(overlay: str) -> Iterator[Manifest]:
    done = _kubectl("kustomize", str(ROOT / "deploy" / "k8s" / "overlays" / overlay))
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    yield from (each for each in yaml.safe_load_all(done.stdout) if each["kind"] != "Namespace")


def _kind(manifest: Manifest) -> str:
    return f"{manifest['apiVersion']}/{manifest['kind']}"


def _as_served(manifest: Manifest, served: set[str]) -> Manifest:
    earlier = EARLIER.get(_kind(manifest))
    if earlier is None or _kind(manifest) in served:
        return manifest
    return {**manifest, "apiVersion": earlier}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
