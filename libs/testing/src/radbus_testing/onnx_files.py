"""A small network as an ONNX file, written without a package for it: what the tests of Triton's models serve.

ONNX is protobuf; the numbers of the fields are those of onnx.proto (IR version 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_IR_VERSION, _OPERATORS_VERSION, _FLOAT = 8, 13, 1
_INT, _INTS = 2, 7  # AttributeProto.AttributeType

_CONFIGURATION = """\
name: "small_network"
backend: "onnxruntime"
max_batch_size: 8

input [
  { name: "IMAGE", data_type: TYPE_FP32, dims: [ 1, 256, 256 ] }
]
output [
  { name: "MASKS", data_type: TYPE_FP32, dims: [ 3, 256, 256 ] },
  { name: "VIEW", data_type: TYPE_FP32, dims: [ 3 ] }
]

# Of no kind: on GPUs where Triton sees some, else on the CPU.
instance_group [ { count: 1 } ]
dynamic_batching { }
model_warmup [
  { name: "one", batch_size: 1,
    inputs { key: "IMAGE", value: { data_type: TYPE_FP32, dims: [ 1, 256, 256 ], zero_data: true } } },
  { name: "a whole batch", batch_size: 8,
    inputs { key: "IMAGE", value: { data_type: TYPE_FP32, dims: [ 1, 256, 256 ], zero_data: true } } }
]
"""

Weights = NDArray[np.float32]


def write_small_network(repository: Path) -> Path:
    """Put the network as the model `small_network` into a repository of Triton, on CPU or GPU; return its ONNX file."""
    file = repository / "small_network" / "1" / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(small_network())
    (repository / "small_network" / "config.pbtxt").write_text(_CONFIGURATION)
    return file


def small_network(seed: int = 1) -> bytes:
    """Make a network with the face of a segmenting one and random weights.

    IMAGE float32 [batch, 1, rows, columns] gives MASKS [batch, 3, rows, columns] and VIEW [batch, 3], all from 0 to 1.
    """
    rng = np.random.default_rng(seed)
    weights = {
        "first": rng.normal(0.0, 0.4, (8, 1, 5, 5)),
        "second": rng.normal(0.0, 0.4, (3, 8, 3, 3)),
    }
    nodes = [
        _node("Conv", ["IMAGE", "first"], "features", pads=[2, 2, 2, 2]),
        _node("Relu", ["features"], "kept"),
        _node("Conv", ["kept", "second"], "logits", pads=[1, 1, 1, 1]),
        _node("Sigmoid", ["logits"], "MASKS"),
        _node("GlobalAveragePool", ["logits"], "means"),
        _node("Flatten", ["means"], "flat", axis=1),
        _node("Softmax", ["flat"], "VIEW", axis=1),
    ]
    graph = b"".join(_message(1, node) for node in nodes) + _text(2, "small")
    graph += b"".join(_message(5, _tensor(name, each.astype(np.float32))) for name, each in weights.items())
    graph += _message(11, _value("IMAGE", ["batch", 1, "rows", "columns"]))
    graph += _message(12, _value("MASKS", ["batch", 3, "rows", "columns"])) + _message(12, _value("VIEW", ["batch", 3]))
    operators = _text(1, "") + _number(2, _OPERATORS_VERSION)
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, operators)


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    node = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operator)
    return node + b"".join(_message(5, _attribute(name, value)) for name, value in attributes.items())


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    return _text(1, name) + b"".join(_number(8, each) for each in value) + _number(20, _INTS)


def _tensor(name: str, array: Weights) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    return dims + _number(2, _FLOAT) + _text(8, name) + _message(9, array.astype("<f4").tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, _FLOAT) + _message(2, dims)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
