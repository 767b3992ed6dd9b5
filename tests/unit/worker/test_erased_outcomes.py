"""A task that works on the outcomes of others, of which nothing is left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from radbus_contracts.errors import PermanentError
from radbus_worker.adapters.outcomes import Outcomes


class InMemory:
    """The collection in memory."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self._found = {each["_id"]: each for each in found}

    async def find(self, where: dict[str, Any], *, limit: int) -> list[dict[str, Any]]:
        return [self._found[each] for each in where["_id"]["$in"] if each in self._found]


async def test_nothing_is_made_of_an_outcome_that_was_erased():
    blank = {"_id": "j1/lungs/1", "usable": True, "erased_at": datetime(2026, 1, 1, tzinfo=UTC)}
    kept = {"_id": "j1/airways/1", "usable": True}
    outcomes = Outcomes(cast("Any", InMemory(blank, kept)), cast("Any", None), cast("Any", None), "worker-0")

    with pytest.raises(PermanentError, match="the outputs of j1/lungs/1 were erased"):
        await outcomes.read("north", ["j1/lungs/1", "j1/airways/1"])

    assert await outcomes.read("north", ["j1/airways/1"]) == [kept]
