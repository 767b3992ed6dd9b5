"""What a client branches on without reading a sentence: the numbers and the decisions of a result, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from radbus_results.domain.inference import Inference, Json


def flat(values: Mapping[str, Json]) -> Iterator[tuple[str, JsonValue]]:
    """Give the values of tasks by one name each: the task's id is put before a name that two of them use."""
    uses = Counter(name for of_task in values.values() for name in of_task)
    for task_id, of_task in values.items():
        for name, value in of_task.items():
            yield (name if uses[name] == 1 else f"{task_id}_{name}"), value


def scores_of(inference: Inference) -> dict[str, float]:
    """Return the values that are numbers."""
    return {
        name: value
        for name, value in flat(inference.values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def decisions_of(inference: Inference) -> dict[str, bool]:
    """Return the values that are yes or no, and the findings that were judged."""
    decided = {name: value for name, value in flat(inference.values) if isinstance(value, bool)}
    judged: dict[str, bool] = {}
    for finding in inference.findings:
        name, present = finding.get("name"), finding.get("present")
        if isinstance(name, str) and isinstance(present, bool):
            judged[name] = present
    # A value is what the use case goes by; a finding of its name says the same in words.
    return {**judged, **decided}
