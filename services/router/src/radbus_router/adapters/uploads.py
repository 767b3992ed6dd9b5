"""What a UID in a request stands for, and how far it has come, from the records that ingest keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radbus_contracts.identity import record_id
from radbus_storage import records
from radbus_storage.documents import Document, Documents

from radbus_router.domain.requesting import Intake, Upload

_SERIES_LIMIT = 1000
_STATE = {"study_instance_uid": 1, "series_instance_uid": 1, "state": 1, "revision": 1}
_UIDS = {"study_instance_uid": 1, "series_instance_uid": 1}


class Uploads:
    """Reads the records of instances, series and studies; writes none."""

    def __init__(self, documents: Documents) -> None:
        self._instances = documents[records.INSTANCES]
        self._series = documents[records.SERIES]
        self._studies = documents[records.STUDIES]

    async def find(self, institution: str, uid: str) -> Upload | None:
        """Find the series of this UID, the series of the instance, or the study; None when there is none of it."""
        return await self._of_series(institution, uid) or await self._of_study(institution, uid)

    async def _of_series(self, institution: str, uid: str) -> Upload | None:
        series = await self._series.find_one(_named(institution, uid), only=_STATE)
        if series is None:
            # Instances are recorded before their series is.
            of_series = {"institution": institution, "series_instance_uid": uid}
            series = await self._series_of_instance(institution, _named(institution, uid))
            series = series or await self._series_of_instance(institution, of_series)
        if series is None:
            return None
        study = await self._study(institution, series["study_instance_uid"])
        intake = _intake(series["series_instance_uid"], series)
        return Upload(intake.uid, study=study, series=(intake,))

    async def _series_of_instance(self, institution: str, where: Document) -> Document | None:
        instance = await self._instances.find_one(where, only=_UIDS)
        if instance is None:
            return None
        named = _named(institution, instance["series_instance_uid"])
        return await self._series.find_one(named, only=_STATE) or instance

    async def _of_study(self, institution: str, uid: str) -> Upload | None:
        where = {"institution": institution, "study_instance_uid": uid}
        found = await self._series.find(where, limit=_SERIES_LIMIT, only=_STATE)
        if not found:
            # Not recorded yet, or a series whose UID another study has used before: it is recorded there.
            uids = await self._instances.distinct("series_instance_uid", where)
            named = [_named(institution, each) for each in uids[:_SERIES_LIMIT]]
            found = [await self._series.find_one(each, only=_STATE) or {} for each in named]
            found = [{"series_instance_uid": own, **each} for own, each in zip(uids, found, strict=False)]
        if not found:
            return None
        series = tuple(_intake(each["series_instance_uid"], each) for each in found)
        return Upload(uid, study=await self._study(institution, uid), series=series)

    async def _study(self, institution: str, study_instance_uid: str) -> Intake:
        found = await self._studies.find_one(_named(institution, study_instance_uid), only=_STATE)
        return _intake(study_instance_uid, found or {})


def _named(institution: str, uid: str) -> Document:
    return {"_id": record_id(institution, uid), "institution": institution}


def _intake(uid: str, record: Mapping[str, Any]) -> Intake:
    return Intake(uid, receiving=record.get("state") != "complete", revision=record.get("revision", 0))
