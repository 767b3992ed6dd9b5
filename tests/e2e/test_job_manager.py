"""Who gets a worker when, on two real workers."""

from __future__ import annotations

import pytest
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack


def finished(hospital) -> list[dict]:
    """The jobs in the order in which they were done."""
    return sorted(hospital.jobs(state="completed"), key=lambda job: job["finished_at"])


def states(job: dict) -> list[str]:
    return [task["state"] for task in job["tasks"]]


def all_done(*hospitals, timeout_s: float = 90) -> None:
    def done() -> bool:
        return not any(hospital.jobs(state="active") for hospital in hospitals)

    eventually(done, timeout_s=timeout_s, what="end of all jobs")


def jobs_appear(hospital, count: int) -> None:
    eventually(lambda: len(hospital.jobs()) == count, timeout_s=20, what=f"{count} jobs")


def test_two_workers_share_the_work(hospital, make_sleepy):
    for _ in range(4):
        hospital.upload(make_sleepy(1500).instances, source="sleepy")
    jobs_appear(hospital, 4)
    all_done(hospital)

    workers = {job["tasks"][0]["worker"] for job in finished(hospital)}
    assert len(workers) == 2


def test_stat_overtakes_a_queue_of_routine(hospital, make_sleepy):
    for _ in range(8):
        hospital.upload(make_sleepy(1000).instances, source="sleepy")
    jobs_appear(hospital, 8)

    hospital.upload(make_sleepy(1000).instances, source="sleepy-emergency")
    jobs_appear(hospital, 9)
    waiting = {job["id"] for job in hospital.jobs() if job["priority"] == "routine" and states(job) == ["ready"]}
    all_done(hospital)

    order = [job["id"] for job in finished(hospital)]
    (stat,) = (job["id"] for job in hospital.jobs() if job["priority"] == "stat")
    assert len(waiting) >= 2
    assert all(order.index(stat) < order.index(routine) for routine in waiting)


def test_one_institutions_flood_does_not_hold_up_another(hospitals, make_sleepy):
    flood, single = hospitals(), hospitals()
    for _ in range(10):
        flood.upload(make_sleepy(800).instances, source="sleepy")
    jobs_appear(flood, 10)

    single.upload(make_sleepy(800).instances, source="sleepy")
    jobs_appear(single, 1)
    all_done(flood, single)

    last_of_single = finished(single)[-1]["finished_at"]
    later = [job for job in finished(flood) if job["finished_at"] > last_of_single]
    assert len(later) >= 2


def test_a_cancelled_job_stops_and_is_said_to_be_cancelled(hospital, make_sleepy):
    series = make_sleepy(30_000)
    hospital.upload(series.instances, source="sleepy")

    def running() -> dict | None:
        jobs = hospital.jobs(state="active")
        return jobs[0] if jobs and jobs[0]["tasks"][0]["state"] == "running" else None

    job = eventually(running, timeout_s=30, what="running job")

    answer = hospital.http.post(hospital.url(f"/jobs/{job['id']}/cancel"), headers=hospital.headers)

    assert answer.status_code == 202
    result = hospital.result(series.uid, timeout_s=15)
    assert result.status_code == 500
    assert "cancel" in result.json()["message"].lower()
    assert hospital.jobs(state="cancelled")[0]["id"] == job["id"]
