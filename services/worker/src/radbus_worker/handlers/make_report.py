"""Run the report machine: one page from the outcomes of the tasks that it needs, in the forms that others read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from radbus_contracts.errors import PermanentError
from radbus_dicom.derived.comparison import comparison_of
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.report_pdf import KeyImage, PatientFacts, ReportContent, machine_in_words
from radbus_dicom.derived.reported import Reported
from radbus_dicom.derived.sources import OF_PATIENT_AND_STUDY
from radbus_machines.protocol import Progress
from radbus_machines.types import Code, Finding, MachineOutput, Measurement, Site
from radbus_runtime.stages import Stage, stage

from radbus_worker.adapters import pixel_work
from radbus_worker.adapters.cpu_pool import CpuPool
from radbus_worker.adapters.derived_objects import DerivedObjects
from radbus_worker.adapters.outcomes import Outcomes
from radbus_worker.adapters.rendering import RenderedFile
from radbus_worker.adapters.scratch import private_folder
from radbus_worker.adapters.series import SeriesStore
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.results import Produced

Document = Mapping[str, Any]

_LOADED, _RENDERED = 0.3, 0.9
_FORMS = (
    ("pdf", pixel_work.REPORT_PDF, "application/pdf"),
    ("encapsulated_pdf", pixel_work.REPORT_DICOM, "application/dicom"),
    ("fhir", pixel_work.REPORT_FHIR, "application/fhir+json"),
    ("hl7", pixel_work.REPORT_HL7, "application/hl7-v2"),
)
"""The kinds of files, their names, and what they hold."""
_HEADER = (*OF_PATIENT_AND_STUDY, "TimezoneOffsetFromUTC")


class NothingToReportError(PermanentError):
    """A report was asked for, and a task that it needs has no usable outcome on record."""


@dataclass(frozen=True, slots=True)
class MakeReport:
    """The runner `report`."""

    outcomes: Outcomes
    series: SeriesStore
    derived: DerivedObjects
    pool: CpuPool
    scratch_dir: Path

    async def run(self, claim: Claim, progress: Progress) -> Produced:
        """Make the report in all its forms and store them."""
        machine = claim.order.machine
        with stage(Stage.LOAD, machine=machine):
            if not claim.order.series_instance_uids:
                raise NothingToReportError("expected a series to report on; an archive has none")
            needed = await self._needed(claim)
            uids = claim.order.series_instance_uids
            elements = await self.series.elements_of(claim.institution, uids[0])
            facts = await self.series.facts_of(claim.institution, uids)
            images = [image for outcome in needed for image in await self._images(outcome)]
        progress(_LOADED)
        content = _content(claim, needed, elements, images)
        async with private_folder(self.scratch_dir) as folder:
            reported = Reported(content, claim.order.study_instance_uid, facts)
            with stage(Stage.REPORT, machine=machine):
                await self.pool.run(pixel_work.write_reports, reported, _header(claim, elements), folder)
            progress(_RENDERED)
            with stage(Stage.KEEP, machine=machine):
                files = [RenderedFile(kind, folder / name, content_type) for kind, name, content_type in _FORMS]
                keys = await self.derived.store(claim, files)
        return Produced(MachineOutput(summary=content.summary), files=keys)

    async def _needed(self, claim: Claim) -> list[dict[str, Any]]:
        ids = [need.outcome_id for need in claim.order.needs]
        found = await self.outcomes.read(claim.institution, ids)
        if not ids or len(found) < len(ids) or not all(outcome["succeeded"] for outcome in found):
            raise NothingToReportError(f"expected {len(ids)} successful outcomes to report on")
        return found

    async def _images(self, outcome: Document) -> list[KeyImage]:
        keys, descriptions = outcome["files"].get("sc_png", []), outcome["files"].get("json", [])
        if not keys or not descriptions:
            return []
        described, *pngs = await self.derived.get([*descriptions[:1], *keys])
        shown = zip(json.loads(described)["key_frames"], pngs, strict=False)
        return [KeyImage(key["title"], png, key.get("weight", 0)) for key, png in shown]


def _content(
    claim: Claim, outcomes: Sequence[Document], elements: Document, images: Sequence[KeyImage]
) -> ReportContent:
    machine = outcomes[0]["machine"]
    return ReportContent(
        title=claim.order.title,
        patient=_patient(elements),
        summary=" ".join(outcome["summary"] for outcome in outcomes),
        provenance=Provenance(
            job_id=claim.order.job_id,
            machine=machine["name"],
            machine_version=machine["version"],
            use_case=claim.order.use_case,
            use_case_version=claim.use_case_version,
            made_at=claim.requested_at,
            weights_sha256=machine["weights_sha256"],
        ),
        measurements=tuple(each for outcome in outcomes for each in _measurements(outcome)),
        findings=tuple(_finding(each) for outcome in outcomes for each in outcome["findings"]),
        key_images=tuple(images),
        limits=tuple(each for outcome in outcomes for each in outcome["limits"]),
        remarks=tuple(each for outcome in outcomes for each in outcome["remarks"]),
        further_machines=_further(outcomes),
        comparisons=tuple(comparison_of(each["comparison"]) for each in outcomes if each.get("comparison")),
    )


def _further(outcomes: Sequence[Document]) -> tuple[str, ...]:
    """Name the machines but for the first one's, each once."""
    first, *others = (
        machine_in_words(each["name"], each["version"], each["weights_sha256"])
        for each in (outcome["machine"] for outcome in outcomes)
    )
    return tuple(dict.fromkeys(other for other in others if other != first))


def _header(claim: Claim, elements: Document) -> Document:
    return {
        **{keyword: elements[keyword] for keyword in _HEADER if keyword in elements},
        "SOPClassUID": _text(elements, "SOPClassUID"),
        "SOPInstanceUID": _text(elements, "SOPInstanceUID"),
        "StudyInstanceUID": claim.order.study_instance_uid,
        "SeriesInstanceUID": claim.order.series_instance_uids[0],
    }


def _text(elements: Document, keyword: str) -> str:
    value = elements.get(keyword)
    return "" if value is None else str(value)


def _patient(elements: Document) -> PatientFacts:
    text = partial(_text, elements)
    return PatientFacts(
        patient_name=text("PatientName"),
        patient_id=text("PatientID"),
        patient_birth_date=text("PatientBirthDate"),
        patient_sex=text("PatientSex"),
        study_date=text("StudyDate"),
        accession_number=text("AccessionNumber"),
        study_description=text("StudyDescription"),
    )


def _measurements(outcome: Document) -> Iterator[Measurement]:
    documents = outcome["measurements"]
    sites = outcome.get("sites") or [None] * len(documents)  # workers of the release before record none
    for document, site in zip(documents, sites, strict=True):
        yield Measurement(**{**document, "concept": Code(**document["concept"]), "site": site and _site(site)})


def _site(document: Document) -> Site:
    side = document["laterality"]
    return Site(Code(**document["part"]), None if side is None else Code(**side))


def _finding(document: Document) -> Finding:
    code = document["code"]
    return Finding(**{**document, "code": None if code is None else Code(**code)})
