"""How the use cases of a series stand, whatever the order in which the facts came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from radbus_contracts.facts import Scope, TriageStatus
from radbus_results.domain.case import (
    Case,
    Completed,
    Failed,
    Intake,
    JobEntry,
    Undecided,
    UnderProcess,
    Unrouted,
    standings,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETE = Intake(receiving=False, revision=1)


def completed(inference_id: str = "i1", *, minute: int = 0) -> Completed:
    return Completed(inference_id, TriageStatus.ROUTINE, usable=True, completed_at=T0 + timedelta(minutes=minute))


def failed(job_id: str, *, cancelled: bool = False) -> Failed:
    return Failed(job_id, "qct", "no", cancelled=cancelled, failed_at=T0)


def job(job_id: str = "j1", **given: object) -> JobEntry:
    fields = {"use_case": "qct", "scope": Scope.SERIES, "revision": 1, **given}
    return JobEntry(job_id=job_id, **fields)  # type: ignore[arg-type]


def case(*jobs: JobEntry, revision: int = 1, unrouted: dict[int, str] | None = None) -> Case:
    return Case(
        study_instance_uid="1.2", series_instance_uid="1.2.3", revision=revision, unrouted=unrouted or {}, jobs=jobs
    )


def test_a_series_that_is_still_received_is_under_process():
    unseen = case(revision=0)

    found = standings(unseen, series=Intake(receiving=True, revision=0), study=Intake())

    assert found == (UnderProcess(subject_uid="1.2.3"),)


def test_a_complete_series_without_any_job_is_undecided():
    complete = case(revision=1)

    found = standings(complete, series=COMPLETE, study=Intake())

    assert found == (Undecided("1.2.3", 1),)


def test_a_job_without_an_end_is_under_process():
    running = case(job("j1"))

    found = standings(running, series=COMPLETE, study=Intake())

    assert found == (UnderProcess("j1"),)


def test_a_completed_job_is_a_result():
    done = case(job("j1", completed=completed()))

    found = standings(done, series=COMPLETE, study=Intake())

    assert found == (completed(),)


def test_a_result_outweighs_the_failure_of_the_same_job():
    retried = case(job("j1", completed=completed(), failed=failed("j1")))

    found = standings(retried, series=COMPLETE, study=Intake())

    assert found == (completed(),)


def test_a_late_instance_hides_the_older_result_before_any_fact_says_so():
    done = case(job("j1", completed=completed()))

    found = standings(done, series=Intake(receiving=True, revision=1), study=Intake())

    assert found == (UnderProcess(subject_uid="1.2.3"),)


def test_the_older_result_stays_hidden_until_the_newer_revision_has_one():
    done = job("j1", completed=completed("old"))

    undecided = standings(case(done, revision=2), series=Intake(revision=2), study=Intake())
    running = standings(case(done, job("j2", revision=2), revision=2), series=Intake(revision=2), study=Intake())
    newer = job("j2", revision=2, completed=completed("new"))
    ended = standings(case(done, newer, revision=2), series=Intake(revision=2), study=Intake())

    assert undecided == (Undecided("1.2.3", 2),)
    assert running == (UnderProcess("j2"),)
    assert ended == (completed("new"),)


def test_the_failure_of_a_newer_revision_is_not_covered_by_the_older_result():
    older = job("j1", completed=completed())
    newer = job("j2", revision=2, failed=failed("j2"))

    found = standings(case(older, newer, revision=2), series=Intake(revision=2), study=Intake())

    assert found == (failed("j2"),)


def test_the_job_cancelled_for_a_newer_revision_says_nothing_once_the_newer_one_is_known():
    older = job("j1", failed=failed("j1", cancelled=True))

    found = standings(case(older, job("j2", revision=2), revision=2), series=Intake(revision=2), study=Intake())

    assert found == (UnderProcess("j2"),)


def test_a_run_again_is_under_process_and_its_failure_does_not_undo_the_first_result():
    first = job("j1", run=1, completed=completed())

    running = standings(case(first, job("j2", run=2)), series=COMPLETE, study=Intake())
    broken = standings(case(first, job("j2", run=2, failed=failed("j2"))), series=COMPLETE, study=Intake())

    assert running == (UnderProcess("j2"),)
    assert broken == (completed(),)


def test_each_use_case_of_a_series_stands_for_itself():
    two = case(job("j1", completed=completed()), job("j2", use_case="nodules"))

    found = standings(two, series=COMPLETE, study=Intake())

    assert set(found) == {completed(), UnderProcess("j2")}


def test_a_series_that_no_use_case_is_for_says_why():
    unrouted = case(unrouted={1: "qct: modality is MR"})

    found = standings(unrouted, series=COMPLETE, study=Intake())

    assert found == (Unrouted("qct: modality is MR"),)


def test_a_later_revision_may_be_routed_where_the_first_was_not():
    routed = case(job("j2", revision=2), unrouted={1: "too few"}, revision=2)

    found = standings(routed, series=Intake(revision=2), study=Intake())

    assert found == (UnderProcess("j2"),)


def test_a_job_on_the_whole_study_follows_the_revisions_of_the_study():
    wide = job("s1", scope=Scope.STUDY, revision=1, completed=completed())
    both = case(wide, unrouted={4: "study only"}, revision=4)

    current = standings(both, series=Intake(revision=4), study=Intake(revision=1))
    reopened = standings(both, series=Intake(revision=4), study=Intake(receiving=True, revision=1))
    grown = standings(both, series=Intake(revision=4), study=Intake(revision=2))

    assert current == (Unrouted("study only"), completed())
    assert reopened == (Unrouted("study only"), UnderProcess())
    assert grown == (Unrouted("study only"), UnderProcess())
