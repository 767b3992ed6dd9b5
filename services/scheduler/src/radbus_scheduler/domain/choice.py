"""Which ready tasks go out now: the most urgent first, then the institution that has the least, then the oldest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from radbus_contracts.facts import Priority

Share = tuple[str, str]
"""A pool and an institution: what somebody has of one pool takes nothing from them in another."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A ready task; `attempt` is the one that it has behind it."""

    job_id: str
    task_id: str
    attempt: int
    pool: str
    institution: str
    priority: Priority
    requested_at: datetime
    ready_at: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """What an institution weighs, and when waiting makes a task more urgent."""

    weights: Mapping[str, float] = field(default_factory=dict)
    routine_ages_after_s: float = 600
    high_ages_after_s: float = 1800

    def urgency(self, candidate: Candidate, now: datetime) -> int:
        """Rank a task: 0 is the most urgent. Each step up is earned by a wait of its own."""
        waited_s = (now - candidate.ready_at).total_seconds()
        match candidate.priority:
            case Priority.STAT:
                return 0
            case Priority.HIGH:
                return 0 if waited_s >= self.high_ages_after_s else 1
            case Priority.ROUTINE:
                if waited_s >= self.routine_ages_after_s + self.high_ages_after_s:
                    return 0
                return 1 if waited_s >= self.routine_ages_after_s else 2

    def weight(self, institution: str) -> float:
        """Return an institution's weight, 1 unless it was given."""
        return self.weights.get(institution, 1.0)


def choose(
    candidates: Iterable[Candidate],
    *,
    free_slots_by_pool: Mapping[str, int],
    in_flight: Mapping[Share, int],
    policy: Policy,
    now: datetime,
) -> list[Candidate]:
    """Choose for each pool as many tasks as it has free slots, in the order in which they are to go out."""
    by_pool: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_pool.setdefault(candidate.pool, []).append(candidate)
    chosen: list[Candidate] = []
    for pool, waiting in by_pool.items():
        load = Counter({institution: count for (at, institution), count in in_flight.items() if at == pool})
        chosen += _choose_in_pool(waiting, free_slots_by_pool.get(pool, 0), load, policy, now)
    return chosen


def _choose_in_pool(
    waiting: list[Candidate], free_slots: int, load: Counter[str], policy: Policy, now: datetime
) -> list[Candidate]:
    # Sorted once: of each institution only the first matters, until it is taken.
    queues: dict[str, list[Candidate]] = {}
    for candidate in sorted(waiting, key=lambda c: (policy.urgency(c, now), c.requested_at, c.job_id, c.task_id)):
        queues.setdefault(candidate.institution, []).append(candidate)
    for queue in queues.values():
        queue.reverse()

    def order(institution: str) -> tuple[int, float, datetime, str]:
        first = queues[institution][-1]
        share = load[institution] / policy.weight(institution)
        return policy.urgency(first, now), share, first.requested_at, first.job_id

    chosen: list[Candidate] = []
    while queues and len(chosen) < free_slots:
        institution = min(queues, key=order)
        chosen.append(queues[institution].pop())
        load[institution] += 1
        if not queues[institution]:
            del queues[institution]
    return chosen
