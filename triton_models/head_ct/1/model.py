"""The model `head_ct` on Triton's Python backend: tensors in and out around the algorithm."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray


class TritonPythonModel:
    """Judge one head CT a request."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the algorithm beside this file; Triton's stub gives it no PYTHONPATH."""
        folder = Path(args["model_repository"]) / args["model_version"]
        sys.path.insert(0, str(folder if folder.is_dir() else Path(__file__).parent))
        from head_ct_algorithm import judge  # noqa: PLC0415 - not importable before its folder is on the path

        self._judge = judge

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, with an error where its input cannot be a volume."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        volume, spacing = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("VOLUME", "SPACING_MM")
        )
        fault = _fault(volume, spacing)
        if fault:
            error = pb_utils.TritonError(fault, pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(output_tensors=[], error=error)
        result = self._judge(volume, (float(spacing[0]), float(spacing[1]), float(spacing[2])))
        lesions = None if result.lesions is None else [{**asdict(e), "side": e.side} for e in result.lesions]
        told = {
            "lesions": lesions,
            "shift_left_mm": result.shift_left_mm,
            "shift_plane": result.shift_plane,
            "shift_points": result.shift_points,
            "remarks": [asdict(remark) for remark in result.remarks],
        }
        tensors = [
            pb_utils.Tensor("LABELS", result.labels),
            pb_utils.Tensor("RESULT", np.array([json.dumps(told).encode()], dtype=np.object_)),
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def _fault(volume: NDArray[Any], spacing: NDArray[Any]) -> str | None:
    """Say what is wrong with the tensors, or nothing."""
    if volume.ndim != 3 or 0 in volume.shape:
        return f"VOLUME: expected planes x rows x columns, none of them 0, got {volume.shape}"
    if volume.dtype != np.int16:
        return f"VOLUME: expected int16 HU, got {volume.dtype}"
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0) or np.any(spacing > 100):
        return "SPACING_MM: expected three numbers above 0 and at most 100"
    return None
