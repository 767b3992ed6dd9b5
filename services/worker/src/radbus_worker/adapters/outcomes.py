"""Outcomes in MongoDB: what an attempt came to, with the fact that tells it in the same document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import TaskFailedV1, TaskSucceededV1
from radbus_contracts.identity import event_id
from radbus_contracts.topology import TASK_FAILED, TASK_SUCCEEDED
from radbus_dicom.derived.sites import site_of
from radbus_machines.manifest import MachineManifest
from radbus_machines.types import MachineOutput, Measurement
from radbus_runtime.events import Outgoing, Teller
from radbus_runtime.outbox import OutboxRelay
from radbus_storage.documents import Collection
from radbus_storage.errors import AlreadyThereError

from radbus_worker.domain.claims import Claim
from radbus_worker.domain.results import Failure, Produced

_MAX_NEEDS = 100


class OutcomeErasedError(PermanentError):
    """Nothing is left of an outcome that is to be worked on: what is made of it would read as a negative result."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes of one worker, and those of others to read."""

    outcomes: Collection
    relay: OutboxRelay
    teller: Teller
    worker: str

    async def record(self, claim: Claim, manifest: MachineManifest | None, result: Produced | Failure) -> None:
        """Write an outcome with its fact; one that is there already stays as it is."""
        match result:
            case Produced():
                fact, told = self._succeeded(claim), _produced(result)
            case Failure():
                fact, told = self._failed(claim, result), {"succeeded": False, "reason": result.reason}
        document = {**self._head(claim, manifest), **told, "outbox": [fact.document()]}
        try:
            await self.outcomes.insert(document)
        except AlreadyThereError:
            return
        self.relay.send_soon(self.outcomes, claim.outcome_id, [fact])

    async def read(self, institution: str, outcome_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Read outcomes in the given order; what is not there, or another institution's, is left out.

        Raises:
            OutcomeErasedError: One was erased.
        """
        where = {"_id": {"$in": list(outcome_ids)}, "institution": institution}
        found = {document["_id"]: document for document in await self.outcomes.find(where, limit=_MAX_NEEDS)}
        if erased := [outcome_id for outcome_id, document in found.items() if document.get("erased_at")]:
            raise OutcomeErasedError(f"the outputs of {', '.join(erased)} were erased")
        return [found[outcome_id] for outcome_id in outcome_ids if outcome_id in found]

    async def untold(self) -> int:
        """Count this worker's outcomes whose fact the broker has not confirmed yet."""
        return await self.outcomes.count({"worker": self.worker, "outbox.at": {"$exists": True}}, limit=1)

    def _head(self, claim: Claim, manifest: MachineManifest | None) -> dict[str, Any]:
        machine: dict[str, Any] = {"name": claim.order.machine}
        if manifest is not None:
            machine |= {
                "version": manifest.version,
                "title": manifest.title,
                "weights_sha256": manifest.weights_sha256,
            }
        return {
            "_id": claim.outcome_id,
            "institution": claim.institution,
            "job_id": claim.order.job_id,
            "task_id": claim.order.task_id,
            "attempt": claim.order.attempt,
            "worker": self.worker,
            "machine": machine,
            "started_at": claim.claimed_at,
            "finished_at": datetime.now(UTC),
        }

    def _succeeded(self, claim: Claim) -> Outgoing:
        data = TaskSucceededV1(
            job_id=claim.order.job_id,
            task_id=claim.order.task_id,
            attempt=claim.order.attempt,
            worker=self.worker,
            outcome_id=claim.outcome_id,
        )
        return self.teller.tell(
            TASK_SUCCEEDED,
            data,
            subject=claim.order.job_id,
            institution=claim.institution,
            event_id=event_id("task.succeeded", claim.outcome_id),
        )

    def _failed(self, claim: Claim, failure: Failure) -> Outgoing:
        data = TaskFailedV1(
            job_id=claim.order.job_id,
            task_id=claim.order.task_id,
            attempt=claim.order.attempt,
            worker=self.worker,
            reason=failure.reason,
            again=failure.again,
        )
        return self.teller.tell(
            TASK_FAILED,
            data,
            subject=claim.order.job_id,
            institution=claim.institution,
            event_id=event_id("task.failed", claim.outcome_id),
        )


def _recorded(measurement: Measurement) -> dict[str, Any]:
    """Leave out the site, told apart: workers of the release before do not know it, and may make the report."""
    return {name: value for name, value in asdict(measurement).items() if name != "site"}


def _sites(output: MachineOutput) -> list[dict[str, Any] | None]:
    segments = [segment for label_map in output.label_maps for segment in label_map.segments]
    sites = (site_of(each, segments) for each in output.measurements)
    return [None if site is None else asdict(site) for site in sites]


def _produced(result: Produced) -> dict[str, Any]:
    output = result.output
    return {
        "succeeded": True,
        "reason": None,
        "summary": output.summary,
        "impression": output.impression,
        "usable": output.usable,
        "values": dict(output.values),
        "measurements": [_recorded(measurement) for measurement in output.measurements],
        "sites": _sites(output),  # of the measurements, in their order
        "findings": [asdict(finding) for finding in output.findings],
        "limits": list(output.limits),
        "remarks": list(result.remarks),
        "comparison": None if result.comparison is None else result.comparison.as_json(),
        "inputs": dict(result.inputs),
        "files": {kind: list(keys) for kind, keys in result.files.items()},
    }
