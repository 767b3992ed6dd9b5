"""The one answer for a series or a study whose use cases stand differently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from radbus_contracts.facts import TriageStatus

from radbus_results.domain.case import Completed, Failed, OnRequest, Standing, Undecided, UnderProcess, Unrouted


@dataclass(frozen=True, slots=True)
class Shown:
    """There are results to show: the one that matters most first."""

    results: tuple[Completed, ...]
    failed: tuple[Failed, ...]
    under_process: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not finished: these jobs run, and so many use cases of all have come to an end."""

    job_ids: tuple[str, ...]
    ended: int
    total: int


Conclusion = Shown | Waiting | Failed | OnRequest | Unrouted


def conclude(found: Iterable[Standing]) -> Conclusion:
    """Choose what to answer.

    A critical result is shown at once. Any other waits until nothing is under process: a client that stops asking at
    the first answer must not take a routine one for the last word. After that comes what is most worth knowing.
    """
    all_of_them = tuple(found)
    results = tuple(sorted((each for each in all_of_them if isinstance(each, Completed)), key=_weight, reverse=True))
    failed = tuple(each for each in all_of_them if isinstance(each, Failed))
    pending = tuple(each for each in all_of_them if isinstance(each, UnderProcess | Undecided))
    if pending and not (results and results[0].triage is TriageStatus.CRITICAL):
        ended = len(results) + len(failed)
        running = tuple(each.job_id for each in pending if isinstance(each, UnderProcess) and each.job_id)
        return Waiting(tuple(dict.fromkeys(running)), ended, ended + len(pending))
    if results and (results[0].usable or not failed):
        return Shown(results, failed, len(pending))
    if failed:
        return failed[0]
    return _without_job(all_of_them)


def _weight(result: Completed) -> tuple[bool, bool, float]:
    return result.triage is TriageStatus.CRITICAL, result.usable, result.completed_at.timestamp()


def _without_job(found: Iterable[Standing]) -> OnRequest | Unrouted:
    reasons: list[str] = []
    for each in found:
        if isinstance(each, OnRequest):
            return each
        if isinstance(each, Unrouted):
            reasons.append(each.reason)
    return Unrouted(" ".join(dict.fromkeys(reasons)) or "no use case is for these images")
