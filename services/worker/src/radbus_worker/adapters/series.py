"""A series as ingest keeps it: records to read, objects to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from radbus_contracts.errors import PermanentError
from radbus_contracts.identity import record_id
from radbus_dicom.derived.reported import SeriesFacts
from radbus_storage.documents import Collection
from radbus_storage.objects import ObjectStore

from radbus_worker.adapters.together import all_of

MAX_INSTANCES = 20_000


class SeriesMissingError(PermanentError):
    """There is no record of a series, or none of its instances."""


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """What is needed of one instance's record; `elements` holds only the keywords that were asked for."""

    sop_instance_uid: str
    series_instance_uid: str
    object_key: str
    elements: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SeriesStore:
    """Reads series; never writes."""

    instances: Collection
    series: Collection
    objects: ObjectStore
    downloads: int

    async def instances_of(
        self, institution: str, series_instance_uids: Sequence[str], *, keywords: Sequence[str]
    ) -> list[StoredInstance]:
        """Read the instances of some series.

        Raises:
            SeriesMissingError: There are none, or more than can be loaded.
        """
        where = {"institution": institution, "series_instance_uid": {"$in": list(series_instance_uids)}}
        wanted = ("sop_instance_uid", "series_instance_uid", "object_key", *(f"elements.{word}" for word in keywords))
        found = await self.instances.find(where, limit=MAX_INSTANCES + 1, only=dict.fromkeys(wanted, 1))
        if not 0 < len(found) <= MAX_INSTANCES:
            raise SeriesMissingError(f"expected 1 to {MAX_INSTANCES} stored instances, there are {len(found)}")
        return [
            StoredInstance(
                sop_instance_uid=document["sop_instance_uid"],
                series_instance_uid=document["series_instance_uid"],
                object_key=document["object_key"],
                elements=document.get("elements", {}),
            )
            for document in found
        ]

    async def elements_of(self, institution: str, series_instance_uid: str) -> dict[str, Any]:
        """Read a series' header elements.

        Raises:
            SeriesMissingError: There is no such series.
        """
        found = await self.series.find_one({"_id": record_id(institution, series_instance_uid)}, only={"elements": 1})
        if found is None:
            raise SeriesMissingError(f"expected a record of the series {series_instance_uid}")
        return dict(found.get("elements", {}))

    async def headers(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Read the header elements of several series by the `_id` of their records; those without one are left out."""
        found = await self.series.find({"_id": {"$in": list(ids)}}, limit=len(ids) or 1, only={"elements": 1})
        return {each["_id"]: dict(each.get("elements") or {}) for each in found}

    async def facts_of(self, institution: str, series_instance_uids: Sequence[str]) -> tuple[SeriesFacts, ...]:
        """Read what reports say of series, in the given order; those without a record are left out."""
        ids = [record_id(institution, uid) for uid in series_instance_uids]
        wanted = {"series_instance_uid": 1, "modality": 1, "instance_count": 1}
        found = {
            each["_id"]: each for each in await self.series.find({"_id": {"$in": ids}}, limit=len(ids), only=wanted)
        }
        return tuple(
            SeriesFacts(each["series_instance_uid"], each["modality"], each["instance_count"])
            for each in (found[_id] for _id in ids if _id in found)
        )

    async def download(self, instances: Sequence[StoredInstance], folder: Path, *, first: int = 0) -> list[Path]:
        """Fetch instances into a folder, some at a time; names are numbers from `first`, in the given order."""
        # A name from the data might lead out of the folder.
        paths = [folder / f"{number:05d}.dcm" for number in range(first, first + len(instances))]
        fetches = (
            partial(self.objects.download, instance.object_key, path)
            for instance, path in zip(instances, paths, strict=True)
        )
        await all_of(fetches, at_a_time=self.downloads)
        return paths
