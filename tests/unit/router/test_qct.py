"""Which series the built-in use case qct is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.domain import ExplainedUseCase, explain_series
from radbus_runtime.conditions import Answer

from tests.unit.router.builders import CHEST_CT, source

BUILT_IN = load_use_cases(Path(__file__).parents[3] / "services" / "router" / "use_cases")
QCT = [use_case for use_case in BUILT_IN if use_case.use_case == "qct"]


def explained(elements: dict[str, Any], *, instances: int = 40, **names: str) -> ExplainedUseCase:
    given = {name: value for name, value in elements.items() if value is not None}
    [qct] = explain_series(QCT, {**given, "instances": instances}, source(**names))
    return qct


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"BodyPartExamined": "THORAX"},
        {"BodyPartExamined": "CHESTABDPELVIS"},
        {"BodyPartExamined": None, "StudyDescription": "CT Thorax nativ"},
        {"BodyPartExamined": None, "SeriesDescription": "Lung 1.0 I70f"},
        {"BodyPartExamined": None, "ProtocolName": "Chest_LowDose"},
        {"BodyPartExamined": "ABDOMEN", "SeriesDescription": "chest 1mm"},
        {"ImageType": None},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", ""]},
    ],
)
def test_qct_is_for_a_chest_ct(changes: dict[str, Any]) -> None:
    qct = explained({**CHEST_CT, **changes})

    assert [each for each in qct.conditions if each.answer is not Answer.YES] == []
    assert qct.matched


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, ["modality", "image"]),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, ["image"]),
        ({"BodyPartExamined": "HEAD"}, ["region"]),
        ({"BodyPartExamined": "HEAD", "StudyDescription": "CT head and chest"}, ["region"]),
        ({"BodyPartExamined": None}, ["region"]),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, ["not_localizer"]),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, ["not_secondary"]),
        ({"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE", "MIP"]}, ["not_secondary"]),
        ({"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, ["not_secondary"]),
    ],
)
def test_qct_says_by_name_why_it_is_not_for_another_series(changes: dict[str, Any], failed: list[str]) -> None:
    qct = explained({**CHEST_CT, **changes})

    assert [each.name for each in qct.conditions if each.answer is not Answer.YES] == failed
    assert not qct.matched


@pytest.mark.parametrize(
    ("instances", "frames", "matched"), [(15, None, False), (16, None, True), (1, 40, True), (1, 3, False)]
)
def test_qct_needs_sixteen_instances_or_frames(instances: int, frames: int | None, matched: bool) -> None:
    qct = explained({**CHEST_CT, "NumberOfFrames": frames}, instances=instances)

    assert qct.matched is matched


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, Answer.NO),
        ({"emphysema_index": 31.0}, Answer.YES),
        ({"emphysema_index": None}, Answer.NO),  # contrast medium: not judged
        ({"emphysema_index": None, "one_lung": True}, Answer.YES),
        ({"collapsed_or_consolidated": True}, Answer.YES),
    ],
)
def test_much_emphysema_one_lung_and_a_collapsed_one_are_critical(changes: dict[str, Any], answer: Answer) -> None:
    [qct] = QCT
    assert qct.triage is not None
    values = {"emphysema_index": 3.0, "one_lung": False, "collapsed_or_consolidated": False, **changes}
    given = {name: value for name, value in values.items() if value is not None}

    assert qct.triage.critical.judge({"lungs": given}).answer is answer
