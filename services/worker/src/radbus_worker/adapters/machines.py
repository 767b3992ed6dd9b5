"""The machines that this worker can run: manifests from a folder, code from entry points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from radbus_contracts.errors import PermanentError
from radbus_machines.manifest import MachineManifest, Runner
from radbus_machines.protocol import Array, Machine, Model, OutputShapes
from radbus_machines.triton import TritonClient, TritonModel

ENTRY_POINTS = "radbus.machines"


class MachineMissingError(PermanentError):
    """A manifest names code that is not installed here."""


class NoModelError(PermanentError):
    """A machine that is Python alone has called a model."""


@dataclass(frozen=True, slots=True)
class CodedMachine:
    """A machine's code with the model that it may call."""

    manifest: MachineManifest
    machine: Machine
    model: Model


@dataclass(frozen=True, slots=True)
class NoModel:
    """The model of a machine that is Python alone."""

    machine: str

    async def infer(self, inputs: Mapping[str, Array], output_shapes: OutputShapes) -> Mapping[str, Array]:  # noqa: ARG002
        """Refuse.

        Raises:
            NoModelError: Always.
        """
        raise NoModelError(f"machine {self.machine}: its runner is `python`, so there is no model to call")


def coded_machines(
    manifests: Mapping[str, MachineManifest], client: TritonClient, *, pool: str, in_flight: int
) -> dict[str, CodedMachine]:
    """Load the code of every machine of a pool, with its model where it runs on Triton.

    Raises:
        MachineMissingError: A manifest's entry point is not installed.
    """
    models = _models([each for each in manifests.values() if each.pool == pool], client, in_flight)
    machines: dict[str, CodedMachine] = {}
    for name, manifest in manifests.items():
        if manifest.pool != pool:
            continue
        match manifest.runner:
            case Runner.PYTHON:
                machines[name] = CodedMachine(manifest, _code(manifest), NoModel(name))
            case Runner.TRITON:
                machines[name] = CodedMachine(manifest, _code(manifest), models[triton_model_name(manifest)])
            case Runner.REPORT:
                continue
    return machines


def _models(manifests: Sequence[MachineManifest], client: TritonClient, in_flight: int) -> dict[str, TritonModel]:
    """Make one object a model, since it holds the bound of requests in flight.

    Where several machines share a model a request may take as long as the slowest; attempts have ends of their own.
    """
    limits: dict[str, float] = {}
    for manifest in manifests:
        if manifest.runner is Runner.TRITON:
            name = triton_model_name(manifest)
            limits[name] = max(limits.get(name, 0.0), manifest.timeout_s)
    return {
        name: TritonModel(client, name, timeout_s=timeout_s, in_flight=in_flight) for name, timeout_s in limits.items()
    }


def triton_model_name(manifest: MachineManifest) -> str:
    """Return the name that a machine's model has on Triton."""
    return manifest.model or manifest.name


def _code(manifest: MachineManifest) -> Machine:
    wanted = manifest.entry_point or manifest.name
    for entry_point in entry_points(group=ENTRY_POINTS, name=wanted):
        kind: type[Machine] = entry_point.load()
        return kind(manifest)
    raise MachineMissingError(f"machine {manifest.name}: expected an entry point {wanted!r} in {ENTRY_POINTS}")
