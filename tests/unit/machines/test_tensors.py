"""Tensors on their way to a model: checked against what the model says of itself."""

from __future__ import annotations

import numpy as np
import pytest
from radbus_machines.tensors import Layout, OutputAbsentError, TensorError, check_output, check_request
from tritonclient.grpc import service_pb2

METADATA = service_pb2.ModelMetadataResponse(
    inputs=[
        {"name": "VOLUME", "datatype": "INT16", "shape": [-1, -1, -1]},
        {"name": "SPACING_MM", "datatype": "FP32", "shape": [3]},
    ],
    outputs=[
        {"name": "LABELS", "datatype": "UINT8", "shape": [-1, -1, -1]},
        {"name": "REMARKS", "datatype": "BYTES", "shape": [1]},
    ],
)
INPUTS = {"VOLUME": np.zeros((4, 512, 512), np.int16), "SPACING_MM": np.ones(3, np.float32)}
OUTPUTS = {"LABELS": ((4, 512, 512), np.dtype(np.uint8)), "REMARKS": ((1,), np.dtype(object))}


def described(**changes: object) -> object:
    return service_pb2.ModelInferResponse.InferOutputTensor(
        **{"name": "LABELS", "datatype": "UINT8", "shape": [4, 512, 512], **changes}
    )


def test_a_request_that_fits_the_model_passes():
    check_request(METADATA, INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ({"VOLUME": INPUTS["VOLUME"]}, OUTPUTS, "expected the inputs"),
        ({**INPUTS, "VOLUME": np.zeros((4, 5, 6))}, OUTPUTS, "expected the input VOLUME as INT16"),
        ({**INPUTS, "SPACING_MM": np.ones(4, np.float32)}, OUTPUTS, "expected the input SPACING_MM as FP32 .3."),
        (INPUTS, {"LUNGS": OUTPUTS["LABELS"]}, "expects the output LUNGS"),
        (INPUTS, {"LABELS": ((4, 512), np.dtype(np.uint8))}, "expected the output LABELS as UINT8"),
    ],
)
def test_a_request_that_does_not_fit_says_what_was_expected(inputs, outputs, text):
    with pytest.raises(TensorError, match=text):
        check_request(METADATA, inputs, outputs)


def test_only_large_tensors_of_known_size_lie_in_shared_memory_and_none_overlap():
    outputs = {**OUTPUTS, "UNKNOWN": ((-1, 512, 512), np.dtype(np.uint8))}

    layout = Layout.of(INPUTS, outputs, from_bytes=1024)

    assert set(layout.inputs) == {"VOLUME"}
    assert set(layout.outputs) == {"LABELS"}
    assert layout.outputs["LABELS"].offset_bytes >= INPUTS["VOLUME"].nbytes
    assert layout.size_bytes >= INPUTS["VOLUME"].nbytes + 4 * 512 * 512


def test_an_output_as_expected_passes():
    check_output("LABELS", described(), np.zeros((4, 512, 512), np.uint8), *OUTPUTS["LABELS"])


@pytest.mark.parametrize(
    ("description", "array"),
    [
        (described(), np.zeros(0, np.uint8)),
        (described(shape=[0]), np.zeros(0, np.uint8)),
        (described(shape=[4, 512, 511]), np.zeros((4, 512, 511), np.uint8)),
        (described(datatype="INT16"), np.zeros((4, 512, 512), np.uint8)),
        (
            described(parameters={"shared_memory_byte_size": service_pb2.InferParameter(int64_param=0)}),
            np.zeros((4, 512, 512), np.uint8),
        ),
    ],
)
def test_an_output_that_is_empty_or_other_than_expected_is_an_error(description, array):
    with pytest.raises(TensorError, match="output LABELS"):
        check_output("LABELS", description, array, *OUTPUTS["LABELS"])


@pytest.mark.parametrize("description", [None, described()])
def test_an_output_that_did_not_come_may_come_at_the_next_attempt(description):
    with pytest.raises(OutputAbsentError, match="output LABELS"):
        check_output("LABELS", description, None, *OUTPUTS["LABELS"])
