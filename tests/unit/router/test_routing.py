"""The jobs that a decision asks for."""

from __future__ import annotations

from radbus_contracts.facts import CompareSpec, JobRequestedV1, Priority, Scope
from radbus_router.domain import RoutedSubject, Routing, Subject, UseCase, decide

from tests.unit.router.builders import series, source, use_case


def routing_of(*use_cases: UseCase, revision: int = 1, scope: Scope = Scope.SERIES) -> Routing:
    header = series("1.2", Modality="CT")
    subject = Subject.of_series(header) if scope is Scope.SERIES else Subject.of_study([header])
    return Routing(RoutedSubject("north", scope, "1.1", ("1.2",), revision), decide(use_cases, subject, source()))


def test_a_job_names_all_that_the_scheduler_and_the_results_need() -> None:
    lungs = use_case(
        priority="high",
        tasks=[{"id": "lungs", "machine": "lung-ct"}, {"id": "report", "machine": "report", "needs": ["lungs"]}],
        triage={"critical": "lungs.index > 25.0"},
    )

    [job] = routing_of(lungs).jobs

    assert (job.use_case, job.use_case_version, job.priority, job.scope) == ("lungs", 1, Priority.HIGH, Scope.SERIES)
    assert (job.study_instance_uid, job.series_instance_uids, job.subject_uid) == ("1.1", ("1.2",), "1.2")
    assert [(task.id, task.machine, task.needs) for task in job.tasks] == [
        ("lungs", "lung-ct", ()),
        ("report", "report", ("lungs",)),
    ]
    assert job.critical_when == "lungs.index > 25.0"


def test_a_job_says_what_is_to_be_compared_and_nothing_where_the_use_case_does_not() -> None:
    [compared] = routing_of(use_case(compare={"with": "previous", "measurements": ["volume_ml"]})).jobs
    [alone] = routing_of(use_case()).jobs

    assert compared.compare == CompareSpec(against="previous", measurements=("volume_ml",))
    assert alone.compare is None
    assert JobRequestedV1.model_validate_json(compared.model_dump_json()) == compared


def test_the_same_subject_and_revision_give_the_same_job_and_the_next_revision_or_version_another() -> None:
    lungs = use_case()

    same, again = routing_of(lungs).jobs[0].job_id, routing_of(lungs).jobs[0].job_id
    others = {routing_of(lungs, revision=2).jobs[0].job_id, routing_of(use_case(version=2)).jobs[0].job_id}

    assert same == again
    assert len(others | {same}) == 3


def test_a_use_case_on_request_matches_and_asks_for_no_job() -> None:
    routing = routing_of(use_case(compute="on-request"))

    assert routing.jobs == ()
    assert routing.decision.reason is None
    assert routing.decision.matched[0].on_request


def test_a_job_of_a_study_is_about_the_study_and_has_its_series() -> None:
    of_study = use_case(scope="study", when={"any": "size(study.series) > 0"})

    [job] = routing_of(of_study, scope=Scope.STUDY).jobs

    assert (job.scope, job.subject_uid, job.series_instance_uids) == (Scope.STUDY, "1.1", ("1.2",))
