"""The machines that this worker can run: manifests from a folder, code from entry points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from radbus_contracts.errors import PermanentError
from radbus_machines.manifest import MachineManifest, Runner
from radbus_machines.protocol import Machine
from radbus_machines.triton import TritonClient, TritonModel

ENTRY_POINTS = "radbus.machines"


class MachineMissingError(PermanentError):
    """A manifest names code that is not installed here."""


@dataclass(frozen=True, slots=True)
class TritonMachine:
    """A machine with its model."""

    manifest: MachineManifest
    machine: Machine
    model: TritonModel


def triton_machines(
    manifests: Mapping[str, MachineManifest], client: TritonClient, *, pool: str, in_flight: int
) -> dict[str, TritonMachine]:
    """Load the code of every machine of a pool that runs on Triton.

    Raises:
        MachineMissingError: A manifest's entry point is not installed.
    """
    models: dict[str, TritonModel] = {}
    machines: dict[str, TritonMachine] = {}
    for name, manifest in manifests.items():
        if manifest.runner is not Runner.TRITON or manifest.pool != pool:
            continue
        model_name = manifest.model or manifest.name
        # One object a model, since it holds the bound of requests in flight.
        model = models.setdefault(
            model_name, TritonModel(client, model_name, timeout_s=manifest.timeout_s, in_flight=in_flight)
        )
        machines[name] = TritonMachine(manifest, _code(manifest), model)
    return machines


def _code(manifest: MachineManifest) -> Machine:
    wanted = manifest.entry_point or manifest.name
    for entry_point in entry_points(group=ENTRY_POINTS, name=wanted):
        kind: type[Machine] = entry_point.load()
        return kind(manifest)
    raise MachineMissingError(f"machine {manifest.name}: expected an entry point {wanted!r} in {ENTRY_POINTS}")
