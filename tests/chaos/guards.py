"""Taking out one guard after another, each in a copy of the repository: a named test must fail then, and pass before.

It must fail for what the guard holds off: its failure says the words that stand with the guard. `make guards` prints
the pairs as the table of docs/reliability.md; with words, only the guards whose names have one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from radbus_cli.local.stack import LocalStack

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT_S: Final = 600  # a test
BASE_PORT: Final = int(os.environ.get("RADBUS_TEST_BASE_PORT", "18000")) + 200
STEPS: Final = (
    "tests/chaos/test_killed_at_each_step.py::test_a_series_comes_to_its_one_result_whoever_dies_at_whichever_step[{}]"
)
CUT_OFF: Final = (
    "tests/chaos/test_connections.py::"
    "test_no_series_is_lost_when_the_broker_is_cut_off_between_its_record_and_its_publish"
)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of each test of a run, and all that was printed."""

    outcomes: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard, how the code is without it, the test that is to fail then, and what its failure says."""

    name: str
    file: str
    guarded: str
    bare: str
    test: str
    says: str


GUARDS: Final = (
    Guard(
        "the outbox: an event is written with the change that it tells",
        "services/ingest/src/radbus_ingest/adapters/records.py",
        'change["$push"] = {"outbox": told.document()}',
        "pass",
        STEPS.format("ingest-completes-a-series"),
        "it did not come to the moment before publish of series.completed.v1",
    ),
    Guard(
        "the confirm: a publish ends when the broker has it",
        "libs/runtime/src/radbus_runtime/bus.py",
        "default_channel=Channel(prefetch_count=settings.prefetch, on_return_raises=True),",
        "default_channel=Channel(prefetch_count=settings.prefetch, publisher_confirms=False),",
        CUT_OFF,
        "no completed series with an untold fact",
    ),
    Guard(
        "$pull from the outbox only after the confirm",
        "libs/runtime/src/radbus_runtime/outbox.py",
        "        for message in entry.messages:\n            await self._bus.publish(message)\n",
        '        await entry.collection.update({"_id": entry.document_id}, {"$set": {"outbox": []}})\n'
        "        for message in entry.messages:\n            await self._bus.publish(message)\n",
        CUT_OFF,
        "no completed series with an untold fact",
    ),
    Guard(
        "the write before the answer",
        "services/ingest/src/radbus_ingest/handlers/receiving.py",
        "lost = await self._toucher.touch(arrival, stored, began=started, is_whole=is_whole)",
        "async def later():\n"
        "            await asyncio.sleep(1)\n"
        "            await self._toucher.touch(arrival, stored, began=started)\n\n"
        "        lost, self.__class__.late = set(), asyncio.create_task(later())",
        STEPS.format("ingest-takes"),
        "it did not come to the moment after touch of the study",
    ),
    Guard(
        "one record an instance: its `_id`",
        "services/ingest/src/radbus_ingest/adapters/records.py",
        '            "_id": record_id(institution, header.sop_instance_uid),\n            "institution"',
        '            "_id": __import__("uuid").uuid4().hex,\n            "institution"',
        STEPS.format("ingest-takes"),
        "double: instance",
    ),
    Guard(
        "the acknowledgement after the work",
        "libs/runtime/src/radbus_runtime/settlement.py",
        "            outcome = await self._done_or_aside(message)\n",
        "            await message.ack()\n            outcome = await self._done_or_aside(message)\n",
        STEPS.format("router-routes"),
        "it did not come to the moment after insert of routings",
    ),
    Guard(
        "the idempotent key of a routing: its `_id`",
        "services/router/src/radbus_router/adapters/routings.py",
        '        "_id": routing_id(subject),\n',
        '        "_id": __import__("uuid").uuid4().hex,\n',
        STEPS.format("router-routes"),
        "double: job",
    ),
    Guard(
        "the idempotent key of a job: its `_id` from what it is for",
        "services/scheduler/src/radbus_scheduler/adapters/jobs.py",
        "            return False\n        return True\n\n    async def hold",
        '            again = __import__("dataclasses").replace(job, id=__import__("uuid").uuid4().hex)\n'
        "            return await self.add(again, messages)\n        return True\n\n    async def hold",
        "tests/integration/test_scheduler.py::test_a_job_asked_for_twice_is_one_job",
        "assert script.orders.empty()",
    ),
    Guard(
        "the idempotent key of an inference: its `_id` from its job",
        "libs/contracts/src/radbus_contracts/identity.py",
        'return str(uuid5(_NAMESPACE, f"inference/{job}"))',
        'return __import__("uuid").uuid4().hex',
        STEPS.format("results-record"),
        "double: job",
    ),
    Guard(
        "the compare-and-set of a job's version",
        "services/scheduler/src/radbus_scheduler/adapters/jobs.py",
        '{"_id": held.job.id, "version": held.version},',
        '{"_id": held.job.id},',
        "tests/integration/test_scheduler.py::test_no_success_is_lost_when_all_tasks_of_a_job_end_at_the_same_moment",
        "await script.succeed(await script.order())",
    ),
    Guard(
        "the lease: one worker an attempt",
        "services/worker/src/radbus_worker/adapters/leases.py",
        '{"_id": lease_id(order), "attempt": {"$lt": order.attempt}},',
        '{"_id": lease_id(order)},',
        "tests/integration/test_worker.py::test_an_order_that_comes_twice_is_run_once",
        'assert len(hospital.told("task.started", order)) == 1',
    ),
    Guard(
        "the lease runs out",
        "services/scheduler/src/radbus_scheduler/domain/limits.py",
        "if _passed(lease.until, limits.lease_stale_s, now):",
        "if False:",
        "tests/chaos/test_workers.py::"
        "test_the_task_of_a_killed_worker_is_done_by_another_and_the_time_that_takes_is_told",
        "== ['its worker was lost']",
    ),
    Guard(
        "the fence of attempts: an older one's failure says nothing",
        "services/scheduler/src/radbus_scheduler/domain/changes.py",
        "return task if task is not None and task.attempt == attempt and task.state in IN_FLIGHT else None",
        "return task if task is not None and task.state in IN_FLIGHT else None",
        "tests/integration/test_scheduler.py::"
        "test_an_attempt_whose_lease_is_stale_is_followed_by_another_and_its_own_failure_is_ignored",
        'await script.until_job(job_id, "completed")',
    ),
    Guard(
        "the delivery limit",
        "libs/runtime/src/radbus_runtime/declare.py",
        '"x-delivery-limit": topology.DELIVERY_LIMIT,',
        '"x-delivery-limit": 1_000_000,',
        "tests/integration/test_dead_letters.py::"
        "test_what_the_broker_gave_up_says_so_and_after_a_replay_can_still_be_put_off",
        "no 1 messages in",
    ),
    Guard(
        "reject, never nack",
        "libs/runtime/src/radbus_runtime/settlement.py",
        "await message.reject(requeue=True)",
        "await message.nack(requeue=True)",
        "tests/unit/runtime/test_settlement.py::test_a_message_whose_copy_could_not_be_made_goes_back_to_its_queue",
        "has no attribute 'nack'",
    ),
    Guard(
        "the alternate exchange of orders",
        "libs/runtime/src/radbus_runtime/declare.py",
        'durable=True, arguments={"alternate-exchange": topology.UNROUTED}',
        "durable=True",
        "tests/integration/test_bus.py::test_an_order_to_a_pool_that_nobody_declared_is_not_lost",
        "NO_ROUTE",
    ),
)


def main(words: Sequence[str]) -> int:
    """Try the guards, print the pairs, and return how many were not missed."""
    guards = [each for each in GUARDS if not words or any(word in each.name for word in words)]
    with copied() as copy:
        passed = run(copy, sorted({guard.test for guard in guards}))
        show("| guard | test that fails without it | with it | without it |\n|---|---|---|---|")
        return sum(not tried(copy, guard, passed) for guard in guards)


def tried(copy: Path, guard: Guard, passed: Run) -> bool:
    """Take one guard out, run its test, put it back, show its row; return whether the test missed it."""
    began = time.monotonic()
    file = copy / guard.file
    whole = file.read_text()
    if whole.count(guard.guarded) != 1:
        raise SystemExit(f"{guard.file}: expected once: {guard.guarded}")
    file.write_text(whole.replace(guard.guarded, guard.bare))
    try:
        seen = run(copy, [guard.test])
    finally:
        file.write_text(whole)
    with_it, without = of(guard.test, passed.outcomes), of(guard.test, seen.outcomes)
    if without == "failed" and guard.says not in seen.text:
        without = "failed, but not for that"
    if without != "failed":
        say(f"expected a failure that says {guard.says!r}, got\n{seen.text}")
    say(f"{guard.name}: {with_it} with it, {without} without it, {time.monotonic() - began:.0f} s")
    show(f"| {guard.name} | `{guard.test}` | {with_it} | {without} |")
    return with_it == "passed" and without == "failed"


def run(copy: Path, tests: Sequence[str]) -> Run:
    """Run tests in the copy and return what became of each: passed, failed, or what proves nothing."""
    sources = [str(path) for path in sorted((*copy.glob("libs/*/src"), *copy.glob("services/*/src"), copy / "cli/src"))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((*sources, *filter(None, [os.environ.get("PYTHONPATH")]))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "RADBUS_TEST_BASE_PORT": str(BASE_PORT),
        "RADBUS_TRITON_VENV": os.environ.get("RADBUS_TRITON_VENV", str(ROOT / ".local" / "triton-venv")),
    }
    options = ["-q", "-rA", "--tb=short", "--show-capture=no", f"--timeout={LIMIT_S}"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    limit_s = LIMIT_S * (len(tests) + 1)  # and the start of the stack
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Run(dict.fromkeys(tests, "out of time"), "")
    found = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return Run({test: kind.lower() for kind, test in found}, done.stdout)


def of(test: str, found: Mapping[str, str]) -> str:
    """Return what became of a test, all its parameters together."""
    kinds = {kind for name, kind in found.items() if name == test or name.startswith(f"{test}[")}
    return next((kind for kind in ("out of time", "error", "failed", "passed") if kind in kinds), "absent")


@contextmanager
def copied() -> Iterator[Path]:
    """Copy what git knows of the working tree; nothing is ever changed in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="radbus-") as folder:
        copy = Path(folder)
        for name in filter(None, listed.stdout.split("\0")):
            source, target = ROOT / name, copy / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        try:
            yield copy
        finally:
            LocalStack(copy / ".local" / f"test-{BASE_PORT}", BASE_PORT).down()


def show(rows: str) -> None:
    """Print rows of the table as soon as they are known: what was seen before a fault is kept."""
    sys.stdout.write(f"{rows}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(f"guards: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
