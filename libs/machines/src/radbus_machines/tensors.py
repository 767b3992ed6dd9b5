"""Tensors on their way to a model: what Triton's metadata promises, what a machine gives, where large ones lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from radbus_contracts.errors import PermanentError, TransientError
from tritonclient.grpc import InferInput
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from radbus_machines.protocol import Array, OutputShapes

_ALIGNMENT_BYTES = 64


class TensorError(PermanentError):
    """A tensor that is not of the name, type or shape that was agreed on."""


class OutputAbsentError(TransientError):
    """An output that did not come, or not whole: its model, or Triton, was in trouble while it answered."""


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor's place in a block."""

    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tensors lie in shared memory, and where; inputs first, then outputs."""

    inputs: Mapping[str, Part]
    outputs: Mapping[str, Part]
    size_bytes: int

    @classmethod
    def empty(cls) -> Self:
        """Return the layout in which every tensor travels in the message."""
        return cls({}, {}, 0)

    @classmethod
    def of(cls, inputs: Mapping[str, Array], output_shapes: OutputShapes, *, from_bytes: int) -> Self:
        """Place every tensor of at least `from_bytes` whose size is known beforehand."""
        offset = 0
        parts: dict[str, dict[str, Part]] = {"in": {}, "out": {}}
        sizes = [("in", name, array.nbytes, array.dtype) for name, array in inputs.items()]
        sizes += [("out", name, _size_bytes(*expected), expected[1]) for name, expected in output_shapes.items()]
        for side, name, size_bytes, dtype in sizes:
            if size_bytes >= from_bytes and not is_bytes(dtype):
                parts[side][name] = Part(offset, size_bytes)
                offset += -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return cls(parts["in"], parts["out"], offset)


def is_bytes(dtype: np.dtype[Any]) -> bool:
    """Say whether an array of this type holds strings (Triton's BYTES)."""
    return dtype.kind in "OSU"


def triton_type(dtype: np.dtype[Any]) -> str:
    """Name Triton's type for a dtype.

    Raises:
        TensorError: Triton has none.
    """
    name: str | None = np_to_triton_dtype(dtype)
    if name is None:
        raise TensorError(f"expected a dtype that Triton knows, not {dtype}")
    return name


def smallest_inputs(metadata: Any) -> list[InferInput]:
    """Make the smallest inputs that a model takes by its own account: zeros, with 1 where a size is free."""
    inputs = []
    for described in metadata.inputs:
        shape = [max(1, size) for size in described.shape]
        array = np.zeros(shape, triton_to_np_dtype(described.datatype))
        tensor = InferInput(described.name, shape, described.datatype)
        tensor.set_data_from_numpy(array.astype("S") if is_bytes(array.dtype) else array)
        inputs.append(tensor)
    return inputs


def check_request(metadata: Any, inputs: Mapping[str, Array], output_shapes: OutputShapes) -> None:
    """Compare what a machine is about to ask with what the model says of itself.

    Raises:
        TensorError: They differ; the text says in what.
    """
    known = {tensor.name: tensor for tensor in metadata.inputs}
    if known.keys() != inputs.keys():
        raise TensorError(f"expected the inputs {sorted(known)}, the machine gives {sorted(inputs)}")
    for name, array in inputs.items():
        _check("input", known[name], triton_type(array.dtype), array.shape)
    offered = {tensor.name: tensor for tensor in metadata.outputs}
    for name, (shape, dtype) in output_shapes.items():
        if name not in offered:
            raise TensorError(f"the machine expects the output {name}, the model has {sorted(offered)}")
        _check("output", offered[name], triton_type(dtype), shape)


def check_output(name: str, description: Any, array: Array | None, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Compare an output with what was expected: a model in trouble may answer with no bytes and no error.

    Raises:
        OutputAbsentError: It is absent or shorter.
        TensorError: It is of another type or shape.
    """
    if description is None or array is None:
        raise OutputAbsentError(f"output {name} is absent or shorter than its shape says")
    found = tuple(description.shape)
    parameters = description.parameters
    sent_bytes = array.nbytes
    if "shared_memory_byte_size" in parameters:
        sent_bytes = parameters["shared_memory_byte_size"].int64_param
    if not _fits(found, shape) or description.datatype != triton_type(dtype):
        expected = f"{triton_type(dtype)} {list(shape)}"
        raise TensorError(f"expected the output {name} as {expected}, got {description.datatype} {list(found)}")
    if not is_bytes(dtype) and sent_bytes != math.prod(found) * dtype.itemsize:
        raise TensorError(f"output {name} has {sent_bytes} bytes, expected {math.prod(found) * dtype.itemsize}")


def _check(side: str, tensor: Any, datatype: str, shape: Sequence[int]) -> None:
    if tensor.datatype != datatype or not _fits(tuple(shape), tuple(tensor.shape)):
        raise TensorError(
            f"expected the {side} {tensor.name} as {tensor.datatype} {list(tensor.shape)}, "
            f"the machine has {datatype} {list(shape)}"
        )


def _fits(shape: Sequence[int], pattern: Sequence[int]) -> bool:
    """Compare two shapes; -1 on either side stands for any length."""
    return len(shape) == len(pattern) and all(-1 in (a, b) or a == b for a, b in zip(shape, pattern, strict=True))


def _size_bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    return 0 if -1 in shape else math.prod(shape) * dtype.itemsize
