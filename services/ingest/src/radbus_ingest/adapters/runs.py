"""The records of runs; one is announced before its zip is stored, so that whoever dies, something knows of the zip."""

from __future__ import annotations

from typing import Any, Final

from radbus_runtime.events import Outgoing
from radbus_runtime.outbox import OUTBOX_INDEX
from radbus_runtime.retention.sweeping import LOOK_INDEX
from radbus_storage.documents import NOW, Document, Documents, Index
from radbus_storage.errors import AlreadyThereError, StoreFailedError
from radbus_storage.records import JOBS, RUNS

from radbus_ingest.domain.runs import FREEING_STATES, Upload, archive_key

# Of the runs of one upload, one at most has this in `window`: the one that a repeated start is answered with.
# The others have their own id there, which is unique by itself, or that with one of these behind it.
_OPEN: Final = "open"
_OWN: Final = "$_id"
_ANNOUNCED: Final = "announced"
_WITHDRAWN: Final = "withdrawn"
_TRIES: Final = 3
_PAGE: Final = 100

_INDEXES: Final = (
    Index((("institution", 1), ("model_id", 1), ("sha256", 1), ("window", 1)), unique=True),
    Index((("ended_at", 1), ("_id", 1))),
    OUTBOX_INDEX,
    LOOK_INDEX,
)


class RunRecords:
    """`runs`: announced, begun, ended; each step is one atomic update, timed by the server."""

    def __init__(self, documents: Documents, *, repeat_s: float) -> None:
        self.collection = documents[RUNS]
        self.indexes = _INDEXES
        self._jobs = documents[JOBS]
        self._repeat_s = repeat_s

    async def holder(self, upload: Upload) -> str | None:
        """Return the run with which a repeated start is answered: begun a short time ago, and not failed."""
        where = _place(upload)
        await self.collection.update({**where, **_older(self._repeat_s)}, [{"$set": {"window": _OWN}}])
        found = await self.collection.find_one(where, only={"_id": 1})
        if found is None:
            return None
        run_id = str(found["_id"])
        # The fact that its job failed may not have been heard yet; the user who saw it fail may try again already.
        if await self._job_state(upload.institution, run_id) in FREEING_STATES:
            await self.collection.update({"_id": run_id, "window": _OPEN}, [{"$set": {"window": _OWN}}])
            return None
        return run_id

    async def announce(self, run_id: str, upload: Upload) -> None:
        """Write down that a zip will be stored; the run has not begun."""
        record = {
            "institution": upload.institution,
            "model_id": upload.model.id,
            "machine": upload.model.machine,
            "sha256": upload.sha256,
            "window": _own(run_id, _ANNOUNCED),
            "archive": archive_key(upload.institution, run_id),
            "size_bytes": upload.size_bytes,
            "ended_at": None,
            "outbox": [],
        }
        change = {name: {"$literal": value} for name, value in record.items()}
        await self.collection.update({"_id": run_id}, [{"$set": {**change, "started_at": NOW}}], upsert=True)

    async def begin(self, run_id: str, upload: Upload, told: Outgoing) -> str:
        """Begin an announced run, whose zip is stored now; return the run that was begun: it may be another's.

        Raises:
            StoreFailedError: It is not there any more, or others begin and fail all the time.
        """
        change = {
            "window": {"$literal": _OPEN},
            "started_at": NOW,
            "outbox": {"$concatArrays": ["$outbox", {"$literal": [told.document()]}]},
        }
        for _ in range(_TRIES):
            try:
                begun = await self.collection.update(_announced(run_id), [{"$set": change}])
            except AlreadyThereError:  # another start of the same was faster
                if (winner := await self.holder(upload)) is not None:
                    return winner
                continue
            if not begun:
                raise StoreFailedError("runs: an announced run is gone")
            return run_id
        raise StoreFailedError("runs: the same is started by others all the time")

    async def withdraw(self, run_id: str) -> bool:
        """Take back an announced run, so that nothing can begin it any more; False when it has begun."""
        return await self.collection.update(_announced(run_id), {"$set": {"window": _own(run_id, _WITHDRAWN)}})

    async def forget(self, run_id: str) -> None:
        """Remove the record of a run that was withdrawn and whose zip is gone."""
        await self.collection.delete({"_id": run_id, "window": _own(run_id, _WITHDRAWN)})

    async def unended(self, institution: str, run_id: str) -> str | None:
        """Return the object key of a run's zip; None when this is no run, or it is erased."""
        where = {"_id": run_id, "institution": institution, "ended_at": None}
        found = await self.collection.find_one(where, only={"archive": 1})
        return None if found is None else str(found["archive"])

    async def end(self, run_id: str, *, frees: bool) -> None:
        """Say that a run's zip is erased; `frees` lets the next start of the same be a new run."""
        change: dict[str, Any] = {"ended_at": NOW, **({"window": _OWN} if frees else {})}
        await self.collection.update({"_id": run_id, "ended_at": None}, [{"$set": change}])

    async def forgotten(self, *, older_than_s: float, after: str, limit: int = _PAGE) -> list[Document]:
        """Return old runs with a zip, in the order of their ids, each with its job's `state`, None without a job."""
        where = {"ended_at": None, "_id": {"$gt": after}, "outbox": [], **_older(older_than_s)}
        found = await self.collection.find(
            where, limit=limit, sort=(("_id", 1),), only={"institution": 1, "archive": 1}
        )
        return [{**each, "state": await self._job_state(each["institution"], each["_id"])} for each in found]

    async def _job_state(self, institution: str, run_id: str) -> str | None:
        job = await self._jobs.find_one({"_id": run_id, "institution": institution}, only={"state": 1})
        return None if job is None else str(job["state"])


def _place(upload: Upload) -> Document:
    return {
        "institution": upload.institution,
        "model_id": upload.model.id,
        "sha256": upload.sha256,
        "window": _OPEN,
    }


def _announced(run_id: str) -> Document:
    return {"_id": run_id, "window": _own(run_id, _ANNOUNCED), "ended_at": None}


def _own(run_id: str, what: str) -> str:
    return f"{run_id}/{what}"


def _older(seconds: float) -> Document:
    return {"$expr": {"$lte": ["$started_at", {"$subtract": [NOW, round(seconds * 1000)]}]}}
