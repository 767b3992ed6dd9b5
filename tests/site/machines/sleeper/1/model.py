"""A model that sleeps for as many hundredths of a second as the first voxel says."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers that there is no lung, later."""

    def execute(self, requests):
        """Sleep, then answer."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        volume = pb_utils.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        time.sleep(max(0, int(volume.flat[0])) / 100)
        remarks = np.array([b'[{"code": "not_a_chest", "text": "This model only sleeps."}]'], dtype=object)
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("LABELS", np.zeros(volume.shape, np.uint8)),
                pb_utils.Tensor("REMARKS", remarks),
            ]
        )
