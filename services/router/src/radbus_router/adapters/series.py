"""The header elements of series, as ingest has recorded them."""

from __future__ import annotations

from collections.abc import Sequence

from radbus_contracts.errors import TransientError
from radbus_contracts.identity import record_id
from radbus_storage.documents import Collection

from radbus_router.domain.variables import SeriesHeader

_HEADER = {"series_instance_uid": 1, "elements": 1, "all": 1, "instance_count": 1}


class SeriesMissingError(TransientError):
    """A series was said to be complete and its record is not there (yet)."""


class SeriesHeaders:
    """Reads what conditions ask about."""

    def __init__(self, series: Collection) -> None:
        self._series = series

    async def read(self, institution: str, series_instance_uids: Sequence[str]) -> list[SeriesHeader]:
        """Read the headers of these series.

        Raises:
            SeriesMissingError: One has no record.
        """
        ids = [record_id(institution, uid) for uid in series_instance_uids]
        found = await self._series.find(
            {"_id": {"$in": ids}, "institution": institution}, limit=max(1, len(ids)), only=_HEADER
        )
        missing = set(series_instance_uids) - {document["series_instance_uid"] for document in found}
        if missing:
            raise SeriesMissingError(
                f"expected a record of each completed series, missing: {', '.join(sorted(missing))}"
            )
        return [
            SeriesHeader(
                series_instance_uid=document["series_instance_uid"],
                elements=document["elements"],
                instance_count=document["instance_count"],
                distinct=document.get("all") or {},
            )
            for document in found
        ]
