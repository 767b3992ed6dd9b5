"""Which use cases a series or study is for, and what each condition answers."""

from __future__ import annotations

import pytest
from radbus_contracts.facts import Priority, Scope
from radbus_router.domain import Subject, decide
from radbus_runtime.conditions import Answer

from tests.unit.router.builders import series, source, use_case


def test_a_use_case_matches_when_every_condition_answers_yes() -> None:
    lungs = use_case(when={"modality": 'series.Modality == "CT"', "extent": "series.instances >= 16"})

    decision = decide([lungs], Subject.of_series(series(Modality="CT", instances=16)), source())

    assert decision.decisions[0].matched
    assert [answer.name for answer in decision.decisions[0].answers] == ["source", "modality", "extent"]
    assert decision.reason is None


def test_what_is_absent_makes_its_condition_unknown_with_the_reason_and_does_not_match() -> None:
    lungs = use_case(when={"part": 'series.BodyPartExamined == "CHEST"'})

    decision = decide([lungs], Subject.of_series(series(Modality="CT")), source())

    [_, answer] = decision.decisions[0].answers
    assert (answer.answer, answer.reason) == (Answer.UNKNOWN, "BodyPartExamined is absent")
    assert decision.matched == ()


def test_a_value_of_another_type_makes_its_condition_unknown_and_never_raises() -> None:
    lungs = use_case(when={"description": 'series.SeriesDescription.matches("chest")'})

    decision = decide([lungs], Subject.of_series(series(SeriesDescription=["chest", 3])), source())

    assert decision.decisions[0].answers[1].answer is Answer.UNKNOWN


def test_all_use_cases_that_match_are_chosen() -> None:
    first, second = use_case(use_case="first"), use_case(use_case="second")
    third = use_case(use_case="third", when={"modality": 'series.Modality == "MR"'})

    decision = decide([first, second, third], Subject.of_series(series(Modality="CT")), source())

    assert [each.use_case.use_case for each in decision.matched] == ["first", "second"]


def test_where_none_matches_the_reason_names_each_use_case_with_its_failed_conditions() -> None:
    first = use_case(use_case="first", when={"modality": 'series.Modality == "MR"', "part": "series.BodyPart == 'X'"})
    second = use_case(use_case="second", sources=["CT1"])

    decision = decide([first, second], Subject.of_series(series(Modality="CT")), source())

    assert decision.reason == (
        "No use case matches: first (modality: no; part: unknown, BodyPart is absent), second (source: no)."
    )


def test_no_use_case_of_the_scope_is_a_reason_too() -> None:
    decision = decide([use_case()], Subject.of_study([series(Modality="CT")]), source())

    assert decision.reason == "There is no use case of this scope."


@pytest.mark.parametrize(
    ("patterns", "names", "admitted"),
    [
        (["*"], {}, True),
        (["CT?"], {"calling_ae_title": "CT1"}, True),
        (["CT?"], {"called_ae_title": "CT1"}, True),
        (["ward-*", "er"], {"workspace": "er"}, True),
        (["scanner"], {"token_name": "scanner"}, True),
        (["ct1"], {"calling_ae_title": "CT1"}, False),
        (["CT*"], {}, False),
    ],
)
def test_a_source_is_admitted_when_one_of_its_names_fits_one_pattern(
    patterns: list[str], names: dict[str, str], admitted: bool
) -> None:
    lungs = use_case(sources=patterns)

    decision = decide([lungs], Subject.of_series(series(Modality="CT")), source(**names))

    assert decision.decisions[0].matched is admitted


@pytest.mark.parametrize(
    ("own", "names", "expected"),
    [
        ("routine", {}, Priority.ROUTINE),
        ("routine", {"workspace": "emergency"}, Priority.STAT),
        ("routine", {"calling_ae_title": "ICU"}, Priority.HIGH),
        ("routine", {"workspace": "emergency", "calling_ae_title": "ICU"}, Priority.STAT),
        ("stat", {"calling_ae_title": "ICU"}, Priority.STAT),
    ],
)
def test_the_data_may_raise_the_priority_and_never_lowers_it(
    own: str, names: dict[str, str], expected: Priority
) -> None:
    raised = {"stat": 'source.workspace == "emergency"', "high": 'source.calling_ae_title == "ICU"'}
    lungs = use_case(priority=own, priority_when=raised)

    decision = decide([lungs], Subject.of_series(series(Modality="CT")), source(**names))

    assert decision.decisions[0].priority is expected


def test_a_study_is_asked_with_the_elements_of_its_largest_series_and_the_list_of_all() -> None:
    both = use_case(
        scope=Scope.STUDY,
        when={
            "largest": 'study.Modality == "CT"',
            "has_mr": 'study.series.exists(each, each.Modality == "MR" && each.instances == 3)',
        },
    )

    decision = decide(
        [both, use_case(use_case="of_series")],
        Subject.of_study([series("1.1", Modality="MR", instances=3), series("1.2", Modality="CT", instances=50)]),
        source(),
    )

    assert [each.use_case.use_case for each in decision.matched] == ["lungs"]


def test_values_that_differ_between_instances_can_be_asked_for() -> None:
    phases = use_case(when={"two_phases": "size(series.all.AcquisitionNumber) == 2"})
    header = series(Modality="CT")
    header = type(header)(
        series_instance_uid="1.2", elements={}, instance_count=2, distinct={"AcquisitionNumber": [1, 2]}
    )

    decision = decide([phases], Subject.of_series(header), source())

    assert decision.decisions[0].matched
