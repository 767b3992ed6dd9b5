"""A model that answers wrongly, in the way that the first voxel says (as 10 x the number below)."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils

SHAPE, NO_BYTES, LONG_TEXT, NO_TEXT, DIES = 1, 2, 3, 4, 5


class TritonPythonModel:
    """Answers wrongly."""

    def execute(self, requests):
        """Answer each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        volume = pb_utils.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        way = int(volume.flat[0]) // 10
        labels, text = np.zeros(volume.shape, np.uint8), b'[{"code": "not_a_chest", "text": "Nothing."}]'
        if way == DIES:
            os._exit(9)
        if way == SHAPE:
            labels = np.zeros((1, 2, 3), np.uint8)
        if way == NO_BYTES:
            labels = labels[:0]
        if way == LONG_TEXT:
            text = b'[{"code": "not_a_chest", "text": "' + 10_000_000 * b"x" + b'"}]'
        if way == NO_TEXT:
            text = b"\xff\xfe no JSON"
        remarks = np.array([text], dtype=object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("LABELS", labels), pb_utils.Tensor("REMARKS", remarks)])
