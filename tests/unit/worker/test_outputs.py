"""What a machine may answer at most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from radbus_dicom.errors import OutputNotValid
from radbus_machines.types import Code, Finding, KeyFrame, LabelMap, MachineOutput, Measurement
from radbus_worker.domain.outputs import MAX_CHARACTERS, MAX_EACH, MAX_KEY_FRAMES, check_output

CODE = Code("1", "99TEST", "Test")
MEASUREMENT = Measurement("a", "A", 1.0, "1", CODE, "A test.")
FINDING = Finding("a", None, "A test.")
LABELS = LabelMap("a", np.zeros((2, 4, 4), np.uint8), ())
WELL = MachineOutput(
    "x" * MAX_CHARACTERS,
    values={"a": 1, "b": "text"},
    label_maps=(LABELS,),
    measurements=(MEASUREMENT,) * MAX_EACH,
    findings=(FINDING,) * MAX_EACH,
    key_frames=(KeyFrame(0, "First"),) * MAX_KEY_FRAMES,
    limits=("",) * MAX_EACH,
)


def test_an_answer_within_all_limits_is_taken_as_it_is():
    assert check_output(WELL, label_bytes=32) is WELL


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, "expected a MachineOutput as the machine's answer, got NoneType"),
        (replace(WELL, measurements=(MEASUREMENT,) * (MAX_EACH + 1)), "at most 1000 measurements, got 1001"),
        (replace(WELL, measurements=(FINDING,)), "measurements as a tuple of Measurement"),
        (replace(WELL, findings=None), "findings as a tuple of Finding"),
        (replace(WELL, key_frames=(KeyFrame(0, "A"),) * (MAX_KEY_FRAMES + 1)), "at most 100 key frames, got 101"),
        (replace(WELL, label_maps=(LABELS, LABELS)), "at most 32 bytes together, got 64"),
        (replace(WELL, values={str(n): n for n in range(MAX_EACH + 1)}), "at most 1000 values"),
        (replace(WELL, values={"a\0": 1}), "names of values"),
        (
            replace(WELL, values={"a": "x" * (MAX_CHARACTERS + 1)}),
            "at most 20000 characters, got one of 20001",
        ),
        (replace(WELL, findings=(replace(FINDING, code=Code("1", "99TEST", "")),)), "meaning of 1 to 64 characters"),
        (replace(WELL, findings=(replace(FINDING, code="1"),)), "expected a Code in the machine's answer, got str"),
        (
            replace(WELL, measurements=(replace(MEASUREMENT, concept=Code("1", "99TEST", "x" * 65)),)),
            "meaning of 1 to 64 characters",
        ),
        (replace(WELL, summary=None), "text in the machine's answer, got NoneType"),
        (replace(WELL, limits=("x" * MAX_CHARACTERS,) * 101), "at most 2000000 characters in all"),
    ],
)
def test_an_answer_beyond_a_limit_is_refused_in_words_that_repeat_nothing_of_it(output, expected):
    with pytest.raises(OutputNotValid, match=expected) as refused:
        check_output(output, label_bytes=32)

    assert "xx" not in str(refused.value)
