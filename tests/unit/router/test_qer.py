"""Which series the built-in use case qer is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.domain import ExplainedUseCase, explain_series
from radbus_runtime.conditions import Answer

from tests.unit.router.builders import CHEST_CT, source

BUILT_IN = load_use_cases(Path(__file__).parents[3] / "services" / "router" / "use_cases")
QER = [use_case for use_case in BUILT_IN if use_case.use_case == "qer"]
HEAD_CT = {**CHEST_CT, "BodyPartExamined": "HEAD"}


def explained(elements: dict[str, Any], *, instances: int = 30) -> ExplainedUseCase:
    given = {name: value for name, value in elements.items() if value is not None}
    [qer] = explain_series(QER, {**given, "instances": instances}, source())
    return qer


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"BodyPartExamined": "BRAIN"},
        {"BodyPartExamined": None, "StudyDescription": "CT Schädel nativ"},
        {"BodyPartExamined": None, "SeriesDescription": "Head 5.0 H31s"},
        {"BodyPartExamined": None, "ProtocolName": "01_CRANIO"},
    ],
)
def test_qer_is_for_a_head_ct(changes: dict[str, Any]) -> None:
    assert explained({**HEAD_CT, **changes}).matched


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"BodyPartExamined": "CHEST"}, {"region"}),
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, {"modality", "image"}),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, {"not_localizer"}),
    ],
)
def test_qer_says_by_name_why_it_is_not_for_another_series(changes: dict[str, Any], failed: set[str]) -> None:
    qer = explained({**HEAD_CT, **changes})

    assert not qer.matched
    assert {each.name for each in qer.conditions if each.answer is Answer.NO} == failed
