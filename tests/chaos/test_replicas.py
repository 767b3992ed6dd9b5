"""Two replicas of every service at once: work is shared, each thing is done once, and either goes on alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from radbus_cli.local.layout import SINGLE_SERVICES
from radbus_cli.local.stack import LocalStack
from radbus_testing.nursery import Nursery

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

READY_S = 120
BALANCED_S = 240
FURTHER = 3  # of the numbers of replicas, one that no stack of the tests has


@dataclass(frozen=True, slots=True)
class Seconds:
    """The second replica of each service, beside the stack's own."""

    stack: LocalStack
    programs: Mapping[str, Nursery]

    def kill_firsts(self) -> None:
        """Kill all of the stack's own, in the middle of what they do."""
        for service in SINGLE_SERVICES:
            self.stack.kill(service)

    def kill_seconds(self) -> None:
        """Start the stack's own again, and kill those beside them."""
        for service in SINGLE_SERVICES:
            self.stack.start(service)
        programs = [program for service in SINGLE_SERVICES for program in self.stack.replicas_of(service)]
        self.stack.wait_until_ready(*programs, timeout_s=READY_S)
        for program in self.programs.values():
            program.kill()

    def start(self) -> None:
        """Start those beside the stack's own, and wait until they are ready."""
        for program in self.programs.values():
            program.start()
        for program in self.programs.values():
            program.wait_until_ready(timeout_s=READY_S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("seconds")


@pytest.fixture
def seconds(radbus, folder) -> Iterator[Seconds]:
    with ExitStack() as opened:
        programs = {
            service: opened.enter_context(
                Nursery(
                    service,
                    radbus.environment(),
                    port=radbus.layout.port(f"{service}-{FURTHER}"),
                    log=folder / f"{service}.log",
                )
            )
            for service in SINGLE_SERVICES
        }
        yield Seconds(radbus, programs)
    radbus.wait_until_ready(timeout_s=READY_S)


async def send(hospital, url: str, series) -> None:
    """Send a series to one replica, by its own address."""
    files = [(f"f{n}", (f"{n}.dcm", each, "application/dicom")) for n, each in enumerate(series.instances)]
    headers = {**hospital.headers, "Source": "sleepy"}
    async with httpx2.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{url}/upload", headers=headers, files=files)
    assert answer.status_code == 200, answer.text


async def test_two_of_every_service_do_each_thing_once_and_either_goes_on_when_the_other_is_killed(
    radbus, seconds, hospital, make_sleepy, balanced, told
):
    await asyncio.to_thread(seconds.start)
    first, second = radbus.url("ingest"), seconds.programs["ingest"].url
    before, meanwhile, after = ([make_sleepy(10) for _ in range(4)] for _ in range(3))

    await asyncio.gather(*(send(hospital, (first, second)[n % 2], each) for n, each in enumerate(before)))
    await asyncio.to_thread(seconds.kill_firsts)
    await asyncio.gather(*(send(hospital, second, each) for each in meanwhile))
    alone = await balanced([*before, *meanwhile], told=told, timeout_s=BALANCED_S)
    await asyncio.gather(*(send(hospital, second, each) for each in after))
    await asyncio.to_thread(seconds.kill_seconds)
    books = await balanced([*before, *meanwhile, *after], told=told, timeout_s=BALANCED_S)

    assert alone.states() == {"completed": 8}
    assert books.states() == {"completed": 12}
