"""The same patient's earlier results, as the results service keeps them; found by the patient's keyed hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from radbus_contracts.identity import record_id
from radbus_dicom.derived.comparison import Comparison, changes_between
from radbus_machines.manifest import MachineManifest
from radbus_machines.types import MachineOutput
from radbus_runtime.patient_key import PatientKeys
from radbus_storage.documents import Collection, Document

from radbus_worker.adapters.leases import Leases
from radbus_worker.adapters.series import SeriesStore
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.priors import Candidate, Current, choose, previous_of, remarks_on

log = structlog.get_logger(__name__)

_LATEST = 50
"""Results of one patient and use case that are looked at; the latest by their study's date."""
_NO_KEY = "Nothing was compared: RADBUS_PATIENT_KEY is not set, by which earlier results of a patient are found."
_NO_PATIENT = "Nothing was compared: the header has no PatientID."
_ERASED = "Nothing was compared: the earlier result that this was first compared with is not kept any more."
_KNOWN = (
    "job_id",
    "study_instance_uid",
    "series_instance_uids",
    "study_date",
    "study_time",
    "completed_at",
    "models",
    "measurements",
    "limits",
    "erased_at",
)


@dataclass(frozen=True, slots=True)
class Priors:
    """Compares with what was found earlier in the same patient; reads only, but for the choice in the own lease."""

    inferences: Collection
    series: SeriesStore
    leases: Leases
    patient_keys: PatientKeys | None

    async def compare(
        self, claim: Claim, manifest: MachineManifest, output: MachineOutput, *, remarks: Sequence[str] = ()
    ) -> Comparison | None:
        """Compare an output, of images with these remarks, with the previous result where the use case asks for it.

        Which that is, is decided by a task's first attempt; every later one compares with the same.
        """
        asked = claim.order.compare
        if asked is None or not output.usable or not claim.order.series_instance_uids:
            return None
        elements = await self.series.elements_of(claim.institution, claim.order.series_instance_uids[0])
        limits = (*output.limits, *remarks)
        current = Current(claim.order.study_instance_uid, elements, manifest.name, manifest.version, limits)
        found, why = await self._chosen(claim, current)
        log.info("prior.chosen", inference_id=found and found["_id"], reason=None if found else why)
        if found is None:
            return Comparison(None, remarks=(why,))
        candidate = (await self._candidates(claim.institution, [found]))[0]
        changes = changes_between(output.measurements, found.get("measurements") or [], names=asked.measurements)
        return Comparison(previous_of(candidate, current), tuple(changes), tuple(remarks_on(candidate, current)))

    async def _chosen(self, claim: Claim, current: Current) -> tuple[Document | None, str]:
        """Return the record of the chosen result, or why there is none; the first choice stands."""
        chosen = await self._choice(claim, current)
        prior = await self.leases.first_prior(claim, _noted(chosen))
        inference_id = prior["inference_id"]
        if inference_id is None:
            return None, prior["reason"]
        where = {"_id": inference_id, "institution": claim.institution, "erased_at": None}
        return await self.inferences.find_one(where, only=dict.fromkeys(_KNOWN, 1)), _ERASED

    async def _choice(self, claim: Claim, current: Current) -> Candidate | str:
        if self.patient_keys is None:
            return _NO_KEY
        key = self.patient_keys.of_element(claim.institution, current.elements.get("PatientID"))
        if key is None:
            return _NO_PATIENT
        where = {
            "institution": claim.institution,
            "patient_key": key,
            "use_case": claim.order.use_case,
            "study_instance_uid": {"$ne": claim.order.study_instance_uid},
            "usable": True,
            "superseded_by": None,
            "erased_at": None,
        }
        if date := str(current.elements.get("StudyDate") or ""):
            where["study_date"] = {"$lte": date}
        only = dict.fromkeys((each for each in _KNOWN if each not in {"measurements", "limits"}), 1)
        newest_first = (("study_date", -1), ("study_time", -1), ("completed_at", -1))
        found = await self.inferences.find(where, limit=_LATEST, sort=newest_first, only=only)
        return choose(await self._candidates(claim.institution, found), current)

    async def _candidates(self, institution: str, found: Sequence[Document]) -> list[Candidate]:
        firsts = [record_id(institution, each["series_instance_uids"][0]) for each in found]
        headers = await self.series.headers(firsts)
        return [_candidate(each, headers.get(first, {})) for each, first in zip(found, firsts, strict=True)]


def _noted(chosen: Candidate | str) -> Document:
    if isinstance(chosen, str):
        return {"inference_id": None, "reason": chosen}
    return {"inference_id": chosen.inference_id}


def _candidate(found: Mapping[str, Any], elements: Mapping[str, Any]) -> Candidate:
    return Candidate(
        inference_id=found["_id"],
        job_id=found["job_id"],
        study_instance_uid=found["study_instance_uid"],
        series_instance_uids=tuple(found["series_instance_uids"]),
        study_date=found.get("study_date") or "",
        study_time=found.get("study_time") or "",
        completed_at=found["completed_at"],
        machines={each["name"]: each["version"] for each in found.get("models") or ()},
        elements=elements,
        limits=tuple(found.get("limits") or ()),
    )
