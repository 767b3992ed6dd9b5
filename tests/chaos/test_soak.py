"""The soak: mixed load under random faults from a seed, then the whole ledger.

`RADBUS_SOAK_MINUTES` says for how long, `RADBUS_SOAK_SEED` repeats a plan; `make soak` sets them.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.books import read
from tests.chaos.ledger import imbalances
from tests.chaos.soak_faults import Faults, victims_of
from tests.chaos.soak_load import Clients
from tests.chaos.soak_plan import HOSPITALS, Load, Plan, plan
from tests.chaos.soak_report import Subscriber, table
from tests.chaos.victims import Victim

pytestmark = pytest.mark.stack

MINUTES = float(os.environ.get("RADBUS_SOAK_MINUTES") or 3)
SEED = int(os.environ.get("RADBUS_SOAK_SEED") or random.randrange(1_000_000))
CLIENTS = 8
# The longest step of the retry ladder is five minutes: a message that met one fault after another waits for it.
QUIET_S = 540
STABLE_S = 3


@pytest.fixture
def victims(radbus, tmp_path) -> Iterator[Mapping[str, Victim]]:
    with victims_of(radbus, tmp_path) as victims:
        yield victims


def test_the_same_seed_gives_the_same_plan():
    assert plan(SEED, 10) == plan(SEED, 10)
    assert plan(SEED, 10) != plan(SEED + 1, 10)


@pytest.mark.timeout(MINUTES * 60 + QUIET_S + 600)
async def test_nothing_is_lost_or_doubled_under_load_and_random_faults(radbus, victims, hospitals, make_sleepy, capsys):
    planned = plan(SEED, MINUTES)
    subscriber = Subscriber(radbus.environment()["RADBUS_AMQP_URL"], f"soak-{SEED}-{time.time_ns()}")
    clients = Clients([await asyncio.to_thread(hospitals) for _ in range(HOSPITALS)], make_sleepy)
    faults = Faults(radbus, victims)
    say(capsys, f"soak: seed {SEED}, {MINUTES:g} minutes, {len(planned.loads)} of load")
    await subscriber.subscribe()

    watching = asyncio.create_task(faults.watch())
    failures = await run(planned, clients, faults)
    found = await until_balanced(radbus.environment(), clients, subscriber, capsys)
    watching.cancel()

    await subscriber.unsubscribe()
    say(capsys, "\n".join(("faults:", *faults.done, "ended by themselves:", *faults.ended)))
    say(capsys, f"load: {dict(clients.asked)}; asked again after: {dict(clients.unanswered)}")
    assert [*failures, *found] == [], f"repeat with SEED={SEED}"


async def run(planned: Plan, clients: Clients, faults: Faults) -> list[str]:
    """Put the load on while the faults are done; return what clients had not expected."""
    began, failures = time.monotonic(), []

    def do(load: Load) -> None:
        try:
            clients.do(load)
        except (AssertionError, TimeoutError, LookupError, ValueError) as error:
            failures.append(f"a client {load.kind}: {type(error).__name__}: {error}")

    async def put_on() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(CLIENTS) as threads:
            doing = []
            for load in sorted(planned.loads, key=lambda each: each.at_s):
                await asyncio.sleep(max(0.0, began + load.at_s - time.monotonic()))
                doing.append(loop.run_in_executor(threads, do, load))
            await asyncio.gather(*doing)

    async with asyncio.TaskGroup() as group:
        group.create_task(put_on())
        group.create_task(faults.run(planned.faults, seconds=MINUTES * 60))
    return failures


async def until_balanced(environment: Mapping[str, str], clients: Clients, subscriber: Subscriber, capsys) -> list[str]:
    """Wait until all books balance and stay so, at most for a time; print them, and return in what they do not."""
    deadline, balanced_at = time.monotonic() + QUIET_S, None
    began = time.monotonic()
    while True:
        await subscriber.hear()
        books = [
            (await read(environment, name), accepted, subscriber.of(name))
            for name, accepted in clients.accepted.items()
        ]
        found = [
            f"{own.institution}: {each}"
            for own, accepted, told in books
            for each in imbalances(own, accepted, told=told)
        ]
        balanced_at = None if found else balanced_at or time.monotonic()
        if time.monotonic() > deadline or (balanced_at and time.monotonic() - balanced_at > STABLE_S):
            say(capsys, f"quiet after {time.monotonic() - began:.0f} s\n{table(books)}")
            return found
        await asyncio.sleep(1)


def say(capsys, text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")
        sys.stdout.flush()
