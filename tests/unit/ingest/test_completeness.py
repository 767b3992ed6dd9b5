"""When a series is complete."""

from __future__ import annotations

import pytest
from radbus_contracts.facts import Source
from radbus_ingest.domain.completeness import (
    CompleteBecause,
    CompletenessRules,
    SeriesArrival,
    complete_at_once,
    instances_digest,
    series_digest,
)

WAITING = CompletenessRules(quiet_s=5, study_quiet_s=5)


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "PX", "IO"])
def test_a_single_image_modality_is_complete_at_once(modality: str, source: Source) -> None:
    arrival = SeriesArrival(modality, says_complete=False, source=source, expected_instances=0, present_instances=0)

    because = complete_at_once(arrival, WAITING)

    assert because is CompleteBecause.SINGLE_IMAGE


def test_a_ct_of_which_nothing_more_is_known_has_to_become_quiet(source: Source) -> None:
    arrival = SeriesArrival("CT", says_complete=False, source=source, expected_instances=0, present_instances=0)

    because = complete_at_once(arrival, WAITING)

    assert because is None


def test_a_request_that_says_so_completes_its_series_at_once(source: Source) -> None:
    arrival = SeriesArrival("CT", says_complete=True, source=source, expected_instances=0, present_instances=0)

    because = complete_at_once(arrival, WAITING)

    assert because is CompleteBecause.SAID_SO


@pytest.mark.parametrize("name", ["*", "ward", "scanner"])
def test_a_source_that_sends_whole_series_completes_them_at_once(name: str, source: Source) -> None:
    rules = CompletenessRules(quiet_s=5, study_quiet_s=5, whole_series_sources=frozenset({name}))
    arrival = SeriesArrival("CT", says_complete=False, source=source, expected_instances=0, present_instances=0)

    because = complete_at_once(arrival, rules)

    assert because is CompleteBecause.WHOLE_SERIES_SOURCE


@pytest.mark.parametrize(("says_complete", "whole_series_sources"), [(True, ()), (False, ("*",))])
def test_a_request_of_which_some_must_be_sent_again_completes_nothing_yet(
    says_complete: bool, whole_series_sources: tuple[str, ...], source: Source
) -> None:
    rules = CompletenessRules(quiet_s=5, study_quiet_s=5, whole_series_sources=frozenset(whole_series_sources))
    arrival = SeriesArrival("CT", says_complete, source, expected_instances=0, present_instances=39, is_whole=False)

    because = complete_at_once(arrival, rules)

    assert because is None


@pytest.mark.parametrize(("present", "expected"), [(2, None), (3, CompleteBecause.ALL_EXPECTED)])
def test_a_series_is_complete_when_as_many_instances_are_there_as_it_says(
    present: int, expected: CompleteBecause | None, source: Source
) -> None:
    arrival = SeriesArrival("CT", says_complete=False, source=source, expected_instances=3, present_instances=present)

    because = complete_at_once(arrival, WAITING)

    assert because is expected


def test_digests_do_not_depend_on_the_order_in_which_things_came() -> None:
    instances, series = ["1.2", "1.10", "1.3"], [("1.2", 1), ("1.3", 2)]

    digests = instances_digest(instances), series_digest(series)

    assert digests == (instances_digest(instances[::-1]), series_digest(series[::-1]))
    assert instances_digest(instances) != instances_digest(instances[:2])
    assert series_digest(series) != series_digest([("1.2", 2), ("1.3", 2)])
