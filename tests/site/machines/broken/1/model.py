"""A model that fails each time, until somebody heals it: then it finds nothing."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

HEALED = Path(__file__).with_name("healed")


class TritonPythonModel:
    """Fails, unless it is healed."""

    def execute(self, requests):
        """Fail, or answer that there is no lung."""
        if not HEALED.exists():
            raise RuntimeError("this model always fails")
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        volume = pb_utils.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        remarks = np.array([b'[{"code": "not_a_chest", "text": "This model was broken."}]'], dtype=object)
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("LABELS", np.zeros(volume.shape, np.uint8)),
                pb_utils.Tensor("REMARKS", remarks),
            ]
        )
