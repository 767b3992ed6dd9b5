"""Store one instance: read its header, put its bytes, write its record; only then is it stored."""

from __future__ import annotations

import asyncio
from typing import BinaryIO, Protocol

from radbus_contracts.errors import TransientError
from radbus_dicom.reading import Header, InvalidInstance, Profile, read_header
from radbus_runtime.stages import Stage, timed
from radbus_storage.errors import StoreRefusedError

from radbus_ingest.adapters.spool import Part, Spool
from radbus_ingest.domain.outcomes import (
    Arrival,
    FailureReason,
    Instance,
    Outcome,
    Refused,
    SopReference,
    Stored,
    instance_key,
)

_AWAY = "a store is away; please send it again"


class Objects(Protocol):
    """Where the bytes go."""

    async def put(self, key: str, data: bytes | BinaryIO, *, size_bytes: int, content_type: str = ...) -> None:
        """Store an object, or raise TransientError."""
        ...


class Instances(Protocol):
    """Where the records go."""

    async def content_of(self, institution: str, sop_instance_uid: str) -> str | None:
        """Return the sha256 under which an instance is recorded, or None."""
        ...

    async def add(self, institution: str, header: Header, *, object_key: str, size_bytes: int, sha256: str) -> bool:
        """Record an instance; False when its UID is recorded already."""
        ...


class InstanceStorer:
    """Stores instances; every way it can go wrong is an outcome, so that the neighbours go on."""

    def __init__(self, objects: Objects, instances: Instances, *, profile: Profile = Profile.STRICT) -> None:
        self._objects = objects
        self._instances = instances
        self._profile = profile

    async def store(self, arrival: Arrival, part: Part) -> Outcome:
        """Store one instance; the same bytes again are a success that creates nothing."""
        with timed(Stage.STORE):
            return await self._outcome(arrival, part)

    async def _outcome(self, arrival: Arrival, part: Part) -> Outcome:
        header = await self._header(part)
        if isinstance(header, Refused):
            return header
        instance = _instance(header)
        if arrival.study_instance_uid not in {None, header.study_instance_uid}:
            text = "expected the StudyInstanceUID that the address names"
            return Refused(part.name, FailureReason.DATA_SET_DOES_NOT_MATCH, text, instance.sop)
        try:
            return await self._store(arrival.institution, part, header, instance)
        except TransientError:
            return Refused(part.name, FailureReason.OUT_OF_RESOURCES, _AWAY, instance.sop, again=True)
        except StoreRefusedError:
            text = "expected a header that fits the record store"
            return Refused(part.name, FailureReason.PROCESSING_FAILURE, text, instance.sop)

    async def _header(self, part: Part) -> Header | Refused:
        spool = part.spool
        if spool.is_too_large:
            return Refused(part.name, FailureReason.OUT_OF_RESOURCES, "expected a smaller instance; see the limits")
        try:
            spool.file.seek(0)
            return await asyncio.to_thread(read_header, spool.file, size_bytes=spool.size_bytes, profile=self._profile)
        except InvalidInstance as error:
            sop = SopReference(error.sop_class_uid, error.sop_instance_uid)
            return Refused(part.name, error.failure_reason, str(error), sop)
        except OSError:  # the disk under the spool
            return Refused(part.name, FailureReason.OUT_OF_RESOURCES, _AWAY, again=True)

    async def _store(self, institution: str, part: Part, header: Header, instance: Instance) -> Outcome:
        spool = part.spool
        known = await self._instances.content_of(institution, header.sop_instance_uid)
        created = False
        if known is None:
            key = instance_key(institution, instance, spool.sha256)
            await self._put(key, spool)
            created = await self._instances.add(
                institution, header, object_key=key, size_bytes=spool.size_bytes, sha256=spool.sha256
            )
            if not created:  # another request was faster
                known = await self._instances.content_of(institution, header.sop_instance_uid)
        if not created and known != spool.sha256:
            text = "an instance with this SOPInstanceUID and other content is stored already"
            return Refused(part.name, FailureReason.DUPLICATE_WITH_OTHER_CONTENT, text, instance.sop)
        return Stored(part.name, instance, spool.size_bytes, created=created, warnings=header.warnings)

    async def _put(self, key: str, spool: Spool) -> None:
        spool.file.seek(0)
        await self._objects.put(key, spool.file, size_bytes=spool.size_bytes, content_type="application/dicom")


def _instance(header: Header) -> Instance:
    return Instance(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        modality=header.modality,
        rows=header.rows,
        columns=header.columns,
        expected_instances=header.expected_instances,
    )
