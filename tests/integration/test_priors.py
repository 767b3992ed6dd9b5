"""The previous result is found on the real database, and a later attempt compares with what the first one did."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from radbus_contracts.facts import CompareSpec
from radbus_contracts.identity import record_id
from radbus_contracts.orders import RunTaskV1
from radbus_machines.manifest import MachineManifest, Runner
from radbus_machines.types import Code, MachineOutput, Measurement
from radbus_runtime.patient_key import PatientKeys
from radbus_storage.documents import Documents
from radbus_testing.programs import settings_of
from radbus_worker.adapters.leases import Leases
from radbus_worker.adapters.priors import Priors
from radbus_worker.adapters.series import SeriesStore
from radbus_worker.domain.claims import Claim

pytestmark = pytest.mark.stack

NOW = datetime(2026, 2, 1, 10, tzinfo=UTC)
KEYS = PatientKeys(b"a secret of these tests")
VOLUME = {"value": "118565006", "scheme": "SCT", "meaning": "Volume"}
OUTPUT = MachineOutput("Fine.", measurements=(Measurement("ml", "Lungs", 4400.0, "mL", Code(**VOLUME), "Counted."),))
MACHINE = MachineManifest(name="lung-ct", version="1.2.0", title="Lung", runner=Runner.TRITON)


class Site:
    """The records of one institution, and the worker's own."""

    def __init__(self, documents: Documents, institution: str) -> None:
        self.documents, self.institution = documents, institution
        names = ("inferences", "instances", "series", "leases", "jobs")
        self.collections = {name: documents[f"priors-{name}"] for name in names}

    def priors(self, *, worker: str = "one", keys: PatientKeys | None = KEYS) -> Priors:
        series = SeriesStore(self.collections["instances"], self.collections["series"], None, downloads=1)
        leases = Leases(self.collections["leases"], self.collections["jobs"], worker, 10)
        return Priors(self.collections["inferences"], series, leases, keys)

    async def record_series(self, uid: str, date: str = "20260201", patient: str = "P-1", **elements: str) -> None:
        header = {"PatientID": patient, "StudyDate": date, "StudyTime": "101500", **elements}
        await self.collections["series"].insert({"_id": record_id(self.institution, uid), "elements": header})

    async def record(self, name: str, date: str, value: float, *, patient: str = "P-1", **changes: Any) -> None:
        """Record a result of a study of its own."""
        series = f"{name}.1"
        await self.record_series(series, date, patient)
        document = {
            "_id": f"{self.institution}/{name}",
            "institution": self.institution,
            "job_id": f"job-{name}",
            "use_case": "qct",
            "study_instance_uid": name,
            "series_instance_uids": [series],
            "study_date": date,
            "study_time": "101500",
            "patient_key": KEYS.of(self.institution, patient),
            "completed_at": NOW - timedelta(days=1),
            "models": [{"name": "lung-ct", "version": "1.1.0"}],
            "measurements": [{"name": "ml", "title": "Lungs", "value": value, "unit": "mL", "concept": VOLUME}],
            "usable": True,
            "superseded_by": None,
        }
        await self.collections["inferences"].insert(document | changes)

    async def claim(self, job: str = "job", *, attempt: int = 1, series: str = "9.1") -> Claim:
        order = RunTaskV1(
            job_id=f"{self.institution}-{job}",
            task_id="lungs",
            attempt=attempt,
            machine="lung-ct",
            use_case="qct",
            title="Chest CT",
            study_instance_uid="9",
            series_instance_uids=(series,),
            compare=CompareSpec(),
            finish_by=NOW + timedelta(hours=1),
        )
        claim = Claim(self.institution, order, use_case_version=1, requested_at=NOW, claimed_at=NOW)
        await self.collections["leases"].update({"_id": claim.lease_id}, {"$set": {"attempt": attempt}}, upsert=True)
        return claim

    async def erase(self, name: str) -> None:
        where = {"_id": f"{self.institution}/{name}"}
        await self.collections["inferences"].update(where, {"$set": {"erased_at": NOW, "measurements": []}})


@pytest.fixture
async def site(stack, institution):
    documents = Documents(settings_of(stack.environment()).documents)
    site = Site(documents, institution)
    await site.record_series("9.1")
    yield site
    documents.close()


async def test_the_latest_earlier_current_usable_kept_result_of_the_patient_is_compared_with(site):
    await site.record("1", "20240101", 4100.0)
    await site.record("2", "20250101", 4000.0)
    await site.record("3", "20250601", 1.0, superseded_by="another")
    await site.record("4", "20250602", 2.0, usable=False)
    await site.record("5", "20250603", 3.0, erased_at=NOW)
    await site.record("6", "20250604", 4.0, patient="P-2")
    await site.record("7", "20250605", 5.0, use_case="another")
    await site.record("8", "20260301", 6.0)
    await site.record("of-the-same-study", "20250606", 7.0, study_instance_uid="9")

    told = await site.priors().compare(await site.claim(), MACHINE, OUTPUT)

    assert told.previous.study_instance_uid == "2"
    assert [(each.previous, each.absolute, each.percent) for each in told.changes] == [(4000.0, 400.0, 10.0)]
    assert "version 1.1.0 of lung-ct" in told.remarks[0]


async def test_what_limits_one_of_both_results_is_said_as_it_is_on_record(site):
    await site.record("1", "20250101", 4000.0, limits=["The lungs are cut off below.", "Slices are missing."])
    limited = replace(OUTPUT, limits=("The images are noisy.",))

    told = await site.priors().compare(await site.claim(), MACHINE, limited, remarks=("Slices are missing.",))

    assert told.remarks[1:] == (
        "A limit of the previous result: The lungs are cut off below.",
        "A limit of this result that the previous one has not: The images are noisy.",
    )


async def test_another_institutions_result_is_never_compared_with(site, stack):
    other = Site(site.documents, f"{site.institution}-other")
    await other.record("2", "20250101", 4000.0)

    told = await site.priors().compare(await site.claim(), MACHINE, OUTPUT)

    assert told.previous is None


async def test_a_later_attempt_compares_with_what_the_first_one_did_and_a_new_job_chooses_anew(site):
    await site.record("1", "20240101", 4100.0)
    first = await site.priors().compare(await site.claim(), MACHINE, OUTPUT)
    await site.record("2", "20250101", 4000.0)

    again = await site.priors(worker="two").compare(await site.claim(attempt=2), MACHINE, OUTPUT)
    anew = await site.priors().compare(await site.claim("asked-for-again"), MACHINE, OUTPUT)

    assert again == first
    assert (first.previous.study_instance_uid, anew.previous.study_instance_uid) == ("1", "2")


async def test_a_later_attempt_finds_nothing_where_the_first_one_did_not(site):
    first = await site.priors().compare(await site.claim(), MACHINE, OUTPUT)
    await site.record("1", "20240101", 4100.0)

    assert await site.priors().compare(await site.claim(attempt=2), MACHINE, OUTPUT) == first
    assert first.previous is None


async def test_what_was_erased_between_two_attempts_is_not_compared_with_and_that_is_said(site):
    await site.record("1", "20240101", 4100.0)
    await site.priors().compare(await site.claim(), MACHINE, OUTPUT)
    await site.erase("1")

    told = await site.priors().compare(await site.claim(attempt=2), MACHINE, OUTPUT)

    assert told.previous is None
    assert "not kept any more" in told.remarks[0]


async def test_without_the_secret_or_a_patients_id_nothing_is_compared_and_the_report_says_why(site):
    await site.record("1", "20240101", 4100.0)
    await site.record_series("9.2", patient=" ")

    without_secret = await site.priors(keys=None).compare(await site.claim("a"), MACHINE, OUTPUT)
    without_id = await site.priors().compare(await site.claim("b", series="9.2"), MACHINE, OUTPUT)

    assert "RADBUS_PATIENT_KEY" in without_secret.remarks[0]
    assert "PatientID" in without_id.remarks[0]
