"""Every migration, oldest first. A name, once released, is never given again, and a step is never changed."""

from __future__ import annotations

from typing import Final

from radbus_storage import records

from radbus_runtime.migrating.migration import Migration

_MISSING: Final = {"$exists": False}
# Before it could be asked for again, a decision had run once if it matched and waited for nobody.
_RUNS: Final = {"$cond": [{"$and": ["$$this.matched", {"$not": ["$$this.on_request"]}]}, 1, 0]}

MIGRATIONS: Final = (
    Migration(
        name="0001-routings-count-runs",
        title="Decisions say how often their job was asked for, and whether wishes were looked for.",
        collection=records.ROUTINGS,
        old={"$or": [{"decisions": {"$elemMatch": {"runs": _MISSING}}}, {"wishes_seen": _MISSING}]},
        change=(
            {
                "$set": {
                    "decisions": {
                        "$map": {"input": "$decisions", "in": {"$mergeObjects": [{"runs": _RUNS}, "$$this"]}}
                    },
                    "wishes_seen": {"$ifNull": ["$wishes_seen", True]},
                }
            },
        ),
    ),
    Migration(
        name="0002-jobs-name-channels",
        title="Jobs say that they have no archive and were never retried; their tasks have channels.",
        collection=records.JOBS,
        old={"$or": [{"retries": _MISSING}, {"archive": _MISSING}, {"tasks": {"$elemMatch": {"channels": _MISSING}}}]},
        change=(
            {
                "$set": {
                    "retries": {"$ifNull": ["$retries", 0]},
                    "archive": {"$ifNull": ["$archive", None]},
                    "tasks": {"$map": {"input": "$tasks", "in": {"$mergeObjects": [{"channels": {}}, "$$this"]}}},
                }
            },
        ),
    ),
)
