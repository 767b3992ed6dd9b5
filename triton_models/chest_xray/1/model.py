"""The model `chest_xray` on Triton's Python backend: pictures in, probabilities out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

_SIDE_PX = 256


class TritonPythonModel:
    """Look at a batch of pictures a request."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the algorithm beside this file; Triton's stub gives it no PYTHONPATH."""
        folder = Path(args["model_repository"]) / args["model_version"]
        sys.path.insert(0, str(folder if folder.is_dir() else Path(__file__).parent))
        from chest_xray_algorithm import look  # noqa: PLC0415 - not importable before its folder is on the path

        self._look = look

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, with an error where its input is no picture."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        image = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy()
        fault = _fault(image)
        if fault:
            error = pb_utils.TritonError(fault, pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(output_tensors=[], error=error)
        seen = [self._look(each[0]) for each in image]
        tensors = [
            pb_utils.Tensor("MASKS", np.stack([each.masks for each in seen]).astype(np.float32)),
            pb_utils.Tensor("VIEW", np.stack([each.view for each in seen]).astype(np.float32)),
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def _fault(image: NDArray[Any]) -> str | None:
    """Say what is wrong with the tensor, or nothing."""
    if image.ndim != 4 or image.shape[1:] != (1, _SIDE_PX, _SIDE_PX):
        return f"IMAGE: expected pictures of 1 x {_SIDE_PX} x {_SIDE_PX}, got {image.shape}"
    if not np.all(np.isfinite(image)):
        return "IMAGE: expected finite grey values from 0 to 1"
    return None
