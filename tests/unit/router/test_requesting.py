"""What becomes of a request for computation."""

from __future__ import annotations

import pytest
from radbus_contracts.facts import JobRequestedV1, Priority, Scope, TaskSpec
from radbus_contracts.identity import job_id
from radbus_router.domain.requesting import (
    RUN_LIMIT,
    AlreadyPushed,
    Answer,
    Decided,
    Intake,
    Match,
    NoUseCase,
    Pushed,
    TooOften,
    Upload,
    conclude,
    is_awaited,
)


def job(subject_uid: str = "1.2", revision: int = 1) -> JobRequestedV1:
    own = job_id(institution="north", use_case="lungs", version=1, subject_uid=subject_uid, revision=revision)
    return JobRequestedV1(
        job_id=own,
        use_case="lungs",
        use_case_version=1,
        title="Lungs",
        scope=Scope.SERIES,
        study_instance_uid="1.1",
        series_instance_uids=("1.2",),
        subject_uid=subject_uid,
        revision=revision,
        priority=Priority.ROUTINE,
        tasks=(TaskSpec(id="lungs", machine="lung-ct"),),
    )


def decided(*runs: int, uid: str = "1.2", revision: int = 1, reason: str | None = None) -> Decided:
    matches = tuple(Match(place=place, runs=each, job=job(uid, revision)) for place, each in enumerate(runs))
    return Decided(
        id=f"north/{uid}/{revision}",
        institution="north",
        subject_uid=uid,
        revision=revision,
        reason=reason,
        matches=matches,
    )


def upload(uid: str, *, series: Intake, study: Intake) -> Upload:
    return Upload(uid, study=study, series=(series,))


DONE, OPEN = Intake("1.2", receiving=False, revision=1), Intake("1.2", receiving=True, revision=1)
LATER = Intake("1.2", receiving=False, revision=2)
STUDY_DONE, STUDY_OPEN = Intake("1.1", receiving=False, revision=1), Intake("1.1", receiving=True, revision=0)


def test_without_recompute_only_what_was_never_pushed_is_wanted_and_with_it_everything() -> None:
    never, once, twice = decided(0, 1, 2).matches

    assert decided(0, 1, 2).wanted(recompute=False) == (never,)
    assert decided(0, 1, 2).wanted(recompute=True) == (never, once, twice)


def test_the_first_run_is_the_job_as_it_was_decided_and_each_later_one_has_its_own_id() -> None:
    first, second, third = (Match(place=0, runs=runs, job=job()).next_job("north") for runs in (0, 1, 2))

    assert first == job()
    assert (second.run, third.run) == (2, 3)
    assert len({first.job_id, second.job_id, third.job_id}) == 3


def test_computing_the_same_images_again_has_an_end() -> None:
    assert decided(RUN_LIMIT).wanted(recompute=True) == ()
    assert conclude({"1.2": decided(RUN_LIMIT)}, (), awaited=False, recompute=True) == TooOften()


@pytest.mark.parametrize(
    ("known", "awaited", "answer"),
    [
        ([decided(1)], False, AlreadyPushed()),
        ([decided(1), decided(reason="because", uid="1.1")], False, AlreadyPushed()),
        ([decided(1)], True, Pushed()),
        ([], True, Pushed()),
        ([decided(reason="a."), decided(reason="b.", uid="1.3")], False, NoUseCase("a. b.")),
        ([decided(reason="a.")], True, Pushed()),
    ],
)
def test_where_nothing_is_pushed_now_the_answer_says_why(known: list[Decided], awaited: bool, answer: Answer) -> None:
    by_uid = {each.subject_uid: each for each in known}

    assert conclude(by_uid, (), awaited=awaited, recompute=False) == answer


@pytest.mark.parametrize(
    ("asked", "series", "study", "known", "awaited"),
    [
        ("1.2", DONE, STUDY_DONE, [decided(1)], False),
        ("1.2", OPEN, STUDY_DONE, [decided(1)], True),
        ("1.2", LATER, STUDY_DONE, [decided(1)], True),
        ("1.2", DONE, STUDY_DONE, [], True),
        ("1.2", DONE, STUDY_OPEN, [decided(1)], False),
        ("1.2", DONE, STUDY_OPEN, [decided(reason="none")], True),
        ("1.1", DONE, STUDY_OPEN, [decided(1)], True),
        ("1.1", DONE, STUDY_DONE, [decided(1)], False),
    ],
)
def test_a_decision_is_awaited_while_something_has_come_that_none_was_about(
    asked: str, series: Intake, study: Intake, known: list[Decided], awaited: bool
) -> None:
    by_uid = {each.subject_uid: each for each in known}

    assert is_awaited(upload(asked, series=series, study=study), by_uid, studies_are_routed=True) is awaited


def test_a_study_is_not_awaited_where_no_use_case_is_for_studies() -> None:
    given = upload("1.1", series=DONE, study=STUDY_OPEN)

    assert is_awaited(given, {"1.2": decided(1)}, studies_are_routed=False) is False
