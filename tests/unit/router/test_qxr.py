"""Which series the built-in use case qxr is for, and which of its results are critical."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.domain import ExplainedUseCase, explain_series
from radbus_runtime.conditions import Answer

from tests.unit.router.builders import source

BUILT_IN = load_use_cases(Path(__file__).parents[3] / "services" / "router" / "use_cases")
QXR = [use_case for use_case in BUILT_IN if use_case.use_case == "qxr"]
CHEST = {
    "Modality": "DX",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
}


def explained(elements: dict[str, Any], *, instances: int = 1) -> ExplainedUseCase:
    given = {name: value for name, value in elements.items() if value is not None}
    [qxr] = explain_series(QXR, {**given, "instances": instances}, source())
    return qxr


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ViewPosition": "AP"},
        {"ViewPosition": "LL"},  # the machine says of it that it is lateral
        {"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"},  # for processing
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},  # a secondary capture, as archives hand them on
        {"BodyPartExamined": "THORAX"},
        {"BodyPartExamined": None},
        {"BodyPartExamined": None, "ViewPosition": None, "StudyDescription": "No Finding"},
        {"BodyPartExamined": "TRUNK", "SeriesDescription": "CXR erect"},
    ],
)
def test_qxr_is_for_a_chest_radiograph_and_for_one_that_names_no_part(changes: dict[str, Any]) -> None:
    assert explained({**CHEST, **changes}).matched


@pytest.mark.parametrize(
    ("changes", "instances", "failed"),
    [
        ({"BodyPartExamined": "HAND"}, 1, {"region"}),
        ({"BodyPartExamined": None, "StudyDescription": "Knee 2 views"}, 1, {"region"}),
        ({"BodyPartExamined": None, "SeriesDescription": "AP Pelvis"}, 1, {"region"}),
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, 1, {"modality", "image"}),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, 1, {"image"}),  # a mammogram
        ({}, 40, {"extent"}),
        ({"NumberOfFrames": 30}, 1, {"extent"}),
    ],
)
def test_qxr_says_by_name_why_it_is_not_for_another_series(
    changes: dict[str, Any], instances: int, failed: set[str]
) -> None:
    qxr = explained({**CHEST, **changes}, instances=instances)

    assert not qxr.matched
    assert {each.name for each in qxr.conditions if each.answer is Answer.NO} == failed


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"view": "PA", "lungs_found": 2, "cardiothoracic_ratio": 0.45, "opacity_asymmetry": 4.0}, Answer.NO),
        ({"view": "PA", "lungs_found": 2, "cardiothoracic_ratio": 0.65, "opacity_asymmetry": 4.0}, Answer.YES),
        ({"view": "AP", "lungs_found": 2, "cardiothoracic_ratio": 0.65, "opacity_asymmetry": 4.0}, Answer.NO),
        ({"view": "frontal", "lungs_found": 2, "opacity_asymmetry": 41.5}, Answer.YES),
        ({"view": "frontal", "lungs_found": 2}, Answer.NO),
        ({"view": "AP", "lungs_found": 1}, Answer.YES),
        ({"view": "PA", "lungs_found": 2, "shorter_lung": "left"}, Answer.YES),
    ],
)
def test_a_heart_far_too_wide_on_pa_and_a_lung_that_is_unlike_the_other_or_not_all_seen_are_critical(
    values: dict[str, Any], answer: Answer
) -> None:
    [qxr] = QXR
    assert qxr.triage is not None

    assert qxr.triage.critical.judge({"chest": values}).answer is answer
