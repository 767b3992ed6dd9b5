"""What a model author implements, and what the worker lends to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radbus_machines.manifest import MachineManifest
from radbus_machines.types import MachineOutput, Volume

Progress = Callable[[float], None]
"""Say how far the machine is, from 0 to 1; cheap, may be called often."""

Array = NDArray[Any]
OutputShapes = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Expected outputs: name to shape and dtype; `object` for BYTES."""


class Model(Protocol):
    """The machine's model on Triton."""

    async def infer(self, inputs: Mapping[str, Array], output_shapes: OutputShapes) -> Mapping[str, Array]:
        """Run the model once and return its outputs by name.

        Raises:
            TransientError: Triton is away, not ready, or too slow.
            PermanentError: Triton refused the request, or an output has not the expected shape.
        """
        ...


class Machine(Protocol):
    """Python around the calls of a model; one object a worker, named in the entry-point group `radbus.machines`."""

    def __init__(self, manifest: MachineManifest) -> None: ...

    async def infer(self, volume: Volume, model: Model, progress: Progress) -> MachineOutput:
        """Judge one volume; `model` cannot be called where the manifest's runner is `python`."""
        ...
