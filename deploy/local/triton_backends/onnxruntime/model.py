"""The backend `onnxruntime` of a Triton that has none: `model.onnx` on the CPU, for every model that asks for it.

Triton takes this file as a backend when it lies in a folder `onnxruntime` of its backends (a Python-based backend). So
a model's folder and its `config.pbtxt` are the same here and in NVIDIA's image, which has this backend in C++.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

_THREADS = 1
_DEFAULT_FILE = "model.onnx"


class TritonPythonModel:
    """One instance of one model; requests that Triton's batcher gives together run together."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Leave the configuration as it is: `config.pbtxt` says all."""
        return auto_complete_model_config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the network of the version that is asked for."""
        config = json.loads(args["model_config"])
        self._inputs = [each["name"] for each in config["input"]]
        self._outputs = [each["name"] for each in config["output"]]
        self._batches = int(config["max_batch_size"]) > 0
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = _THREADS
        file = Path(pb_utils.get_model_dir()) / (config.get("default_model_filename") or _DEFAULT_FILE)
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer all requests by one run, or, where they do not fit together, by one each."""
        given = [self._tensors(request) for request in requests]
        if not self._batches or len({_rests(tensors) for tensors in given}) > 1:
            return [self._answer([tensors])[0] for tensors in given]
        return self._answer(given)

    def _tensors(self, request: Any) -> list[NDArray[Any]]:
        return [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]

    def _answer(self, given: Sequence[Sequence[NDArray[Any]]]) -> list[Any]:
        together = [np.concatenate(each) if len(given) > 1 else each[0] for each in zip(*given, strict=True)]
        try:
            results = self._session.run(self._outputs, dict(zip(self._inputs, together, strict=True)))
        except (onnxruntime.capi.onnxruntime_pybind11_state.OnnxRuntimeException, ValueError) as error:
            fault = pb_utils.TritonError(f"onnxruntime: {error}", pb_utils.TritonError.INVALID_ARG)
            return [pb_utils.InferenceResponse(output_tensors=[], error=fault) for _ in given]
        if len(given) == 1:
            return [self._response(results)]
        ends = np.cumsum([tensors[0].shape[0] for tensors in given])[:-1]
        parts = [np.split(result, ends) for result in results]
        return [self._response(own) for own in zip(*parts, strict=True)]

    def _response(self, results: Sequence[NDArray[Any]]) -> Any:
        named = zip(self._outputs, results, strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, np.ascontiguousarray(part)) for name, part in named])


def _rests(tensors: Sequence[NDArray[Any]]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes without the batch's length."""
    return tuple(tensor.shape[1:] for tensor in tensors)
