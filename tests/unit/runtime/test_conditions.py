"""CEL conditions answer yes, no or unknown, and never raise on data."""

from __future__ import annotations

import pytest
from radbus_runtime.conditions import Answer, Condition, ConditionError


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ('series.Modality == "CT"', Answer.YES),
        ('series.Modality == "MR"', Answer.NO),
        ('series.BodyPartExamined == "CHEST"', Answer.UNKNOWN),
        ('series.BodyPartExamined == "CHEST" || series.StudyDescription.matches("(?i)thora")', Answer.YES),
        ("series.instances >= 16", Answer.YES),
        ("series.Modality > 3", Answer.UNKNOWN),
        ("series.Modality", Answer.UNKNOWN),
    ],
)
def test_a_condition_on_what_is_absent_or_of_another_type_is_unknown(expression, answer):
    series = {"Modality": "CT", "StudyDescription": "CT Thorax", "instances": 20}

    verdict = Condition(expression).judge({"series": series})

    assert verdict.answer is answer
    assert (verdict.reason is not None) == (answer is Answer.UNKNOWN)


def test_the_reason_of_an_unknown_names_the_element_and_not_its_value():
    verdict = Condition('series.PatientName + 1 == "x" || series.Absent == "y"').judge(
        {"series": {"PatientName": "DOE^JANE"}}
    )

    assert verdict.answer is Answer.UNKNOWN
    assert "DOE" not in str(verdict.reason)


def test_an_expression_that_does_not_parse_is_refused_with_its_place():
    with pytest.raises(ConditionError, match=r"series\.Modality =="):
        Condition("series.Modality ==")
