"""The report machine puts what several tasks came to into one report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from radbus_contracts.facts import TaskOutcome
from radbus_contracts.orders import RunTaskV1
from radbus_dicom.derived.reported import Reported, SeriesFacts
from radbus_machines.types import Code, Site
from radbus_worker.domain.claims import Claim
from radbus_worker.handlers.make_report import MakeReport

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ELEMENTS = {
    "PatientID": "A",
    "IssuerOfAccessionNumberSequence": [{"LocalNamespaceEntityID": "RIS"}],
    "TimezoneOffsetFromUTC": "+0100",
    "Rows": 512,
    "SOPClassUID": "1.2",
}


class Everything:
    """The record, the series, the objects and the pool of a worker, in memory; it keeps what the pool was given."""

    def __init__(self, outcomes: list[dict]) -> None:
        self._outcomes = outcomes
        self.reported: Reported | None = None
        self.header: dict | None = None

    async def read(self, institution, ids):
        return self._outcomes

    async def elements_of(self, institution, uid):
        return ELEMENTS

    async def facts_of(self, institution, uids):
        return (SeriesFacts(uids[0], "CT", 2),)

    async def run(self, work, reported, header, folder):
        self.reported, self.header = reported, header

    async def store(self, claim, files):
        return {}


def outcome(name: str, weights_sha256: str | None = None) -> dict:
    lists = {each: [] for each in ("measurements", "findings", "limits", "remarks")}
    machine = {"name": name, "version": "1.0.0", "weights_sha256": weights_sha256}
    return {"succeeded": True, "summary": f"By {name}.", "machine": machine, "files": {}, **lists}


def claim(needs: int) -> Claim:
    order = RunTaskV1(
        job_id="job",
        task_id="report",
        attempt=1,
        machine="report",
        use_case="u",
        title="t",
        study_instance_uid="1",
        series_instance_uids=("2",),
        needs=tuple(TaskOutcome(task_id=str(n), outcome_id=str(n)) for n in range(needs)),
        finish_by=NOW + timedelta(hours=1),
    )
    return Claim(institution="north", order=order, use_case_version=1, requested_at=NOW, claimed_at=NOW)


async def test_a_report_over_several_machines_names_each_of_them_once(tmp_path):
    outcomes = [outcome("head-ct"), outcome("lung-ct", "ab"), outcome("head-ct"), outcome("lung-ct", "ab")]
    fake = Everything(outcomes)

    await MakeReport(fake, fake, fake, fake, tmp_path).run(claim(len(outcomes)), lambda share: None)

    content = fake.reported.content
    assert content.provenance.machine == "head-ct"
    assert content.further_machines == ("lung-ct 1.0.0, weights sha256 ab",)


async def test_the_sites_of_an_outcome_are_those_of_its_measurements_and_an_older_one_has_none(tmp_path):
    volume = {"name": "ml", "title": "Lung", "value": 1.0, "unit": "mL", "definition": "Counted.", "segment": 1}
    volume["concept"] = {"value": "118565006", "scheme": "SCT", "meaning": "Volume"}
    part = {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}
    side = {"value": "24028007", "scheme": "SCT", "meaning": "Right"}
    sites = [{"part": part, "laterality": side}, {"part": part, "laterality": None}, None]
    fake = Everything([outcome("new") | {"measurements": [volume] * 3, "sites": sites}])
    older = Everything([outcome("old") | {"measurements": [volume]}])

    for each in (fake, older):
        await MakeReport(each, each, each, each, tmp_path).run(claim(1), lambda share: None)

    lung, right = Code(**part), Code(**side)
    assert [each.site for each in fake.reported.content.measurements] == [Site(lung, right), Site(lung), None]
    assert [each.site for each in older.reported.content.measurements] == [None]


async def test_the_page_as_dicom_is_made_of_what_the_series_says_of_patient_study_and_clock(tmp_path):
    fake = Everything([outcome("head-ct")])

    await MakeReport(fake, fake, fake, fake, tmp_path).run(claim(1), lambda share: None)

    own = {"StudyInstanceUID": "1", "SeriesInstanceUID": "2", "SOPClassUID": "1.2", "SOPInstanceUID": ""}
    assert fake.header == {word: value for word, value in ELEMENTS.items() if word != "Rows"} | own
