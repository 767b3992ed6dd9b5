"""Taking out one guard after another, each in a copy of the repository: a named test must fail then, and pass before.

`make guards` prints the pairs as the table of docs/reliability.md; with words, only the guards whose names have one.
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


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard, how the code is without it, and the test that is to fail then."""

    name: str
    file: str
    guarded: str
    bare: str
    test: str


GUARDS: Final = (
    Guard(
        "the outbox: an event is written with the change that it tells",
        "services/ingest/src/radbus_ingest/adapters/records.py",
        'change["$push"] = {"outbox": told.document()}',
        "pass",
        STEPS.format("ingest-completes-a-series"),
    ),
    Guard(
        "the confirm: a publish ends when the broker has it",
        "libs/runtime/src/radbus_runtime/bus.py",
        "default_channel=Channel(prefetch_count=settings.prefetch, on_return_raises=True),",
        "default_channel=Channel(prefetch_count=settings.prefetch, publisher_confirms=False),",
        STEPS.format("ingest-completes-a-series"),
    ),
    Guard(
        "$pull from the outbox only after the confirm",
        "libs/runtime/src/radbus_runtime/outbox.py",
        "        for message in entry.messages:\n            await self._bus.publish(message)\n",
        '        await entry.collection.update({"_id": entry.document_id}, {"$set": {"outbox": []}})\n'
        "        for message in entry.messages:\n            await self._bus.publish(message)\n",
        STEPS.format("ingest-completes-a-series"),
    ),
    Guard(
        "the write before the answer",
        "services/ingest/src/radbus_ingest/handlers/receiving.py",
        "lost = await self._toucher.touch(arrival, stored, began=started, is_whole=is_whole)",
        "lost, self.__class__.late = set(), asyncio.create_task(self._toucher.touch(arrival, stored, began=started))",
        STEPS.format("ingest-takes"),
    ),
    Guard(
        "one record an instance: its `_id`",
        "services/ingest/src/radbus_ingest/adapters/records.py",
        '            "_id": record_id(institution, header.sop_instance_uid),\n            "institution"',
        '            "_id": __import__("uuid").uuid4().hex,\n            "institution"',
        STEPS.format("ingest-takes"),
    ),
    Guard(
        "the acknowledgement after the work",
        "libs/runtime/src/radbus_runtime/settlement.py",
        "            outcome = await self._done_or_aside(message)\n",
        "            await message.ack()\n            outcome = await self._done_or_aside(message)\n",
        STEPS.format("router-routes"),
    ),
    Guard(
        "the idempotent key of a routing: its `_id`",
        "services/router/src/radbus_router/adapters/routings.py",
        '        "_id": routing_id(subject),\n',
        '        "_id": __import__("uuid").uuid4().hex,\n',
        STEPS.format("router-routes"),
    ),
    Guard(
        "the idempotent key of a job: its `_id` from what it is for",
        "services/scheduler/src/radbus_scheduler/handlers/requests.py",
        "        job = plan(\n            event.data,\n",
        '        job = plan(\n            event.data.model_copy(update={"job_id": __import__("uuid").uuid4().hex}),\n',
        "tests/integration/test_scheduler.py::test_a_job_asked_for_twice_is_one_job",
    ),
    Guard(
        "the idempotent key of an inference: its `_id` from its job",
        "libs/contracts/src/radbus_contracts/identity.py",
        'return str(uuid5(_NAMESPACE, f"inference/{job}"))',
        'return __import__("uuid").uuid4().hex',
        STEPS.format("results-record"),
    ),
    Guard(
        "the compare-and-set of a job's version",
        "services/scheduler/src/radbus_scheduler/adapters/jobs.py",
        '{"_id": held.job.id, "version": held.version},',
        '{"_id": held.job.id},',
        "tests/integration/test_scheduler.py::test_no_success_is_lost_when_all_tasks_of_a_job_end_at_the_same_moment",
    ),
    Guard(
        "the lease: one worker an attempt",
        "services/worker/src/radbus_worker/adapters/leases.py",
        '{"_id": lease_id(order), "attempt": {"$lt": order.attempt}},',
        '{"_id": lease_id(order)},',
        "tests/integration/test_worker.py::test_an_order_that_comes_twice_is_run_once",
    ),
    Guard(
        "the lease runs out",
        "services/scheduler/src/radbus_scheduler/domain/limits.py",
        "if _passed(lease.until, limits.lease_stale_s, now):",
        "if False:",
        "tests/chaos/test_workers.py::"
        "test_the_task_of_a_killed_worker_is_done_by_another_and_the_time_that_takes_is_told",
    ),
    Guard(
        "the fence of attempts: an older one's failure says nothing",
        "services/scheduler/src/radbus_scheduler/domain/changes.py",
        "return task if task is not None and task.attempt == attempt and task.state in IN_FLIGHT else None",
        "return task if task is not None and task.state in IN_FLIGHT else None",
        "tests/integration/test_scheduler.py::"
        "test_an_attempt_whose_lease_is_stale_is_followed_by_another_and_its_own_failure_is_ignored",
    ),
    Guard(
        "the delivery limit",
        "libs/runtime/src/radbus_runtime/declare.py",
        '"x-delivery-limit": topology.DELIVERY_LIMIT,',
        '"x-delivery-limit": 1_000_000,',
        "tests/integration/test_dead_letters.py::"
        "test_what_the_broker_gave_up_says_so_and_after_a_replay_can_still_be_put_off",
    ),
    Guard(
        "reject, never nack",
        "libs/runtime/src/radbus_runtime/settlement.py",
        "await message.reject(requeue=True)",
        "await message.nack(requeue=True)",
        "tests/unit/runtime/test_settlement.py::test_a_message_whose_copy_could_not_be_made_goes_back_to_its_queue",
    ),
    Guard(
        "the alternate exchange of orders",
        "libs/runtime/src/radbus_runtime/declare.py",
        'durable=True, arguments={"alternate-exchange": topology.UNROUTED}',
        "durable=True",
        "tests/integration/test_bus.py::test_an_order_to_a_pool_that_nobody_declared_is_not_lost",
    ),
)


def main(words: Sequence[str]) -> int:
    """Try the guards, print the pairs, and return how many were not missed."""
    guards = [each for each in GUARDS if not words or any(word in each.name for word in words)]
    with copied() as copy:
        passed = outcomes(copy, sorted({guard.test for guard in guards}))
        show("| guard | test that fails without it | with it | without it |\n|---|---|---|---|")
        return sum(not tried(copy, guard, passed) for guard in guards)


def tried(copy: Path, guard: Guard, passed: Mapping[str, str]) -> bool:
    """Take one guard out, run its test, put it back, show its row; return whether the test missed it."""
    began = time.monotonic()
    file = copy / guard.file
    whole = file.read_text()
    if whole.count(guard.guarded) != 1:
        raise SystemExit(f"{guard.file}: expected once: {guard.guarded}")
    file.write_text(whole.replace(guard.guarded, guard.bare))
    try:
        without = of(guard.test, outcomes(copy, [guard.test]))
    finally:
        file.write_text(whole)
    with_it = of(guard.test, passed)
    say(f"{guard.name}: {with_it} with it, {without} without it, {time.monotonic() - began:.0f} s")
    show(f"| {guard.name} | `{guard.test}` | {with_it} | {without} |")
    return with_it == "passed" and without == "failed"


def outcomes(copy: Path, tests: Sequence[str]) -> dict[str, str]:
    """Run tests in the copy and return what became of each: passed, failed, or what proves nothing."""
    sources = [str(path) for path in sorted((*copy.glob("libs/*/src"), *copy.glob("services/*/src"), copy / "cli/src"))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((*sources, *filter(None, [os.environ.get("PYTHONPATH")]))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "RADBUS_TEST_BASE_PORT": str(BASE_PORT),
        "RADBUS_TRITON_VENV": os.environ.get("RADBUS_TRITON_VENV", str(ROOT / ".local" / "triton-venv")),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=short", "--show-capture=no", *tests]
    limit_s = LIMIT_S * len(tests)
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(tests, "out of time")
    return {test: kind.lower() for kind, test in re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)}


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
