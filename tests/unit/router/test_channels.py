"""Which series of a study each channel of a task gets."""

from __future__ import annotations

from typing import Any

from radbus_contracts.facts import Scope
from radbus_router.domain import RoutedSubject, Routing, SeriesHeader, Subject, decide
from radbus_runtime.conditions import Answer

from tests.unit.router.builders import series, source, use_case


def routing_of(*headers: SeriesHeader, **channels: str) -> Routing:
    tasks: list[dict[str, Any]] = [
        {"id": "segment", "machine": "two-inputs", "channels": channels},
        {"id": "report", "machine": "report", "needs": ["segment"]},
    ]
    two_inputs = use_case(scope="study", when={"any": "size(study.series) > 0"}, tasks=tasks)
    uids = tuple(header.series_instance_uid for header in headers)
    subject = RoutedSubject("north", Scope.STUDY, "1.1", uids, 1)
    return Routing(subject, decide([two_inputs], Subject.of_study(headers), source()))


def test_of_several_series_that_meet_a_channel_the_largest_is_chosen_and_then_the_first_uid() -> None:
    small, second, first = series("1.1", instances=3), series("1.3", instances=9), series("1.2", instances=9)

    [job] = routing_of(small, second, first, ct="series.instances > 1").jobs

    assert [task.channels for task in job.tasks] == [{"ct": "1.2"}, {}]
    assert job.series_instance_uids == ("1.1", "1.3", "1.2")


def test_a_channel_that_no_series_meets_is_no_match_with_the_reason() -> None:
    routing = routing_of(series("1.2", Modality="CT"), ct='series.Modality == "CT"', pet='series.Modality == "PT"')

    assert routing.jobs == ()
    assert routing.decision.reason == "No use case matches: lungs (channel segment.pet: no, met by none of 1 series)."


def test_a_channel_about_what_is_absent_is_unknown_and_says_what() -> None:
    routing = routing_of(series("1.2"), series("1.3", Modality="MR"), ct='series.Modality == "CT"')

    [*_, answer] = routing.decision.decisions[0].answers
    assert (answer.answer, answer.reason) == (Answer.UNKNOWN, "met by none of 2 series; of one, Modality is absent")


def test_what_is_absent_in_one_series_does_not_keep_a_channel_from_another() -> None:
    [job] = routing_of(series("1.2"), series("1.3", Modality="CT"), ct='series.Modality == "CT"').jobs

    assert job.tasks[0].channels == {"ct": "1.3"}
