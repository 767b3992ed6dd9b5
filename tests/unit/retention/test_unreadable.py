"""A purge whose record is not as it should be: by hand, or by another version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from radbus_runtime.retention.policy import RetentionPolicy
from radbus_runtime.retention.purger import Purger
from radbus_runtime.retention.purges import Claim

WHOLE = {
    "institution": "north",
    "kind": "study",
    "subject_uid": "1.2",
    "study_instance_uid": "1.2",
    "what": ["inputs"],
    "by": "operator",
    "reason": "asked for",
    "by_policy": False,
    "job_ids": None,
    "due_at": None,
}
HEAD = {"_id": "p1", "state": "waiting", "attempts": 1, "plan": None, "steps": {}, "counts": {}}


@dataclass
class Purges:
    """The collection in memory: what was written to it."""

    written: list[dict[str, Any]] = field(default_factory=list)

    @property
    def collection(self) -> Purges:
        return self

    async def update(self, where: dict[str, Any], change: list[dict[str, Any]]) -> bool:
        self.written.append(change[0]["$set"])
        return True


@pytest.mark.parametrize(
    "record",
    [
        {name: value for name, value in WHOLE.items() if name != "what"},
        {**WHOLE, "what": ["pixels"]},
        {**WHOLE, "kind": "patient"},
        {**WHOLE, "what": None},
    ],
    ids=["a field is missing", "an unknown part", "an unknown kind", "nothing where a list should be"],
)
async def test_a_purge_that_cannot_be_read_waits_with_the_reason_and_holds_up_no_other(record):
    purges = Purges()
    claim = Claim(cast("Any", purges), "p1", "me", {**HEAD, **record})
    nothing = cast("Any", dict.fromkeys(("studies", "series", "instances", "routings", "jobs", "purges")))
    purger = Purger(nothing, cast("Any", None), policy=RetentionPolicy(), audit=cast("Any", None))

    state = await purger.run(claim)

    [written] = purges.written
    assert state == "waiting"
    assert written["waits_for"]["$literal"].startswith("it cannot be read (")
    assert "try_at" in written
