"""Which ready tasks go out now."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given as each
from hypothesis import strategies as st
from radbus_contracts.facts import Priority
from radbus_scheduler.domain.choice import Candidate, Policy, choose

from tests.unit.scheduler.builders import T0, at

POLICY = Policy(routine_ages_after_s=600, high_ages_after_s=1800)


def candidate(
    number: int, *, priority: Priority = Priority.ROUTINE, institution: str = "north", pool: str = "gpu", age: float = 0
) -> Candidate:
    since = at(-age)
    return Candidate(
        job_id=f"{number:04}",
        task_id="a",
        attempt=0,
        pool=pool,
        institution=institution,
        priority=priority,
        requested_at=since,
        ready_at=since,
    )


def chosen(candidates, *, slots=1, in_flight=None, policy=POLICY) -> list[str]:
    found = choose(candidates, free_slots_by_pool={"gpu": slots}, in_flight=in_flight or {}, policy=policy, now=T0)
    return [each.job_id for each in found]


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.integers(0, 9999),
        priority=st.sampled_from(Priority),
        institution=st.sampled_from(["north", "south", "west"]),
        pool=st.sampled_from(["gpu", "default"]),
        age=st.integers(0, 4000),
    ),
    max_size=40,
    unique_by=lambda c: c.job_id,
)


def test_stat_goes_before_high_before_routine_however_much_older_these_are():
    routine = candidate(1, age=500)
    high = candidate(2, priority=Priority.HIGH, age=400)
    stat = candidate(3, priority=Priority.STAT)

    assert chosen([routine, high, stat], slots=3) == ["0003", "0002", "0001"]


def test_of_equal_urgency_the_institution_with_the_least_in_flight_goes_first():
    flood = [candidate(number, age=100 - number) for number in range(5)]
    other = candidate(9, institution="south")

    order = chosen([*flood, other], slots=3, in_flight={("gpu", "north"): 4})

    assert order == ["0009", "0000", "0001"]


def test_what_an_institution_has_in_another_pool_takes_nothing_from_it():
    mine = candidate(1, age=10)
    other = candidate(2, institution="south")

    assert chosen([mine, other], in_flight={("default", "north"): 50}) == ["0001"]


def test_an_institution_of_twice_the_weight_gets_twice_as_much():
    waiting = [candidate(n, institution=("north", "south")[n % 2]) for n in range(60)]

    order = chosen(waiting, slots=30, policy=Policy(weights={"north": 2}))

    shares = Counter("north" if int(job) % 2 == 0 else "south" for job in order)
    assert shares == {"north": 20, "south": 10}


def test_a_waiting_routine_task_becomes_as_urgent_as_high_and_then_as_stat():
    fresh_high = candidate(1, priority=Priority.HIGH)
    fresh_stat = candidate(2, priority=Priority.STAT)

    assert chosen([fresh_high, candidate(3, age=599)])[0] == "0001"
    assert chosen([fresh_high, candidate(3, age=600)])[0] == "0003"
    assert chosen([fresh_stat, candidate(3, age=2399)])[0] == "0002"
    assert chosen([fresh_stat, candidate(3, age=2400)])[0] == "0003"


@each(candidates=CANDIDATES, gpu=st.integers(0, 20), default=st.integers(0, 20))
def test_no_pool_gets_more_than_its_free_slots_and_none_is_left_free_while_something_waits(candidates, gpu, default):
    free = {"gpu": gpu, "default": default}

    found = choose(candidates, free_slots_by_pool=free, in_flight={}, policy=POLICY, now=T0)

    assert len({each.job_id for each in found}) == len(found)
    for pool, slots in free.items():
        waiting = sum(each.pool == pool for each in candidates)
        assert sum(each.pool == pool for each in found) == min(slots, waiting)


@each(candidates=CANDIDATES, slots=st.integers(1, 20))
def test_nothing_goes_out_before_something_more_urgent_in_its_pool(candidates, slots):
    found = choose(candidates, free_slots_by_pool={"gpu": slots}, in_flight={}, policy=POLICY, now=T0)

    left = [POLICY.urgency(each, T0) for each in candidates if each.pool == "gpu" and each not in found]
    ranks = [POLICY.urgency(each, T0) for each in found]
    assert ranks == sorted(ranks)
    assert not left or not ranks or max(ranks) <= min(left)


@each(candidates=CANDIDATES, slots=st.integers(1, 5))
def test_an_institution_never_goes_before_its_own_older_task_of_the_same_urgency(candidates, slots):
    found = choose(candidates, free_slots_by_pool={"gpu": slots}, in_flight={}, policy=POLICY, now=T0)

    for earlier, later in pairwise(found):
        same = earlier.institution == later.institution
        if same and POLICY.urgency(earlier, T0) == POLICY.urgency(later, T0):
            assert earlier.requested_at <= later.requested_at


@each(flood=st.integers(1, 5), priority=st.sampled_from([Priority.HIGH, Priority.STAT]))
def test_no_routine_task_starves_under_an_endless_flood_of_more_urgent_ones(flood, priority):
    waiting, serial = [candidate(0)], 1

    for step in range(60):
        now = at(step * 60)
        for _ in range(flood):
            urgent = candidate(serial, priority=priority, age=-step * 60)
            waiting, serial = [*waiting, urgent], serial + 1
        taken = choose(waiting, free_slots_by_pool={"gpu": 1}, in_flight={}, policy=POLICY, now=now)
        waiting = [each for each in waiting if each not in taken]

    assert "0000" not in {each.job_id for each in waiting}


@each(flood=st.integers(2, 50))
def test_a_flood_from_one_institution_does_not_hold_up_another(flood):
    waiting = [candidate(number, age=500 - number) for number in range(flood)]
    other = candidate(9999, institution="south")

    assert "9999" in chosen([*waiting, other], slots=2)
