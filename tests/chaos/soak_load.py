"""What a soak's clients do: each asks until it is answered, and notes what it was answered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2
from radbus_testing.waiting import eventually

from tests.chaos.books import Accepted
from tests.chaos.conftest import instances_of
from tests.chaos.soak_plan import Kind, Load
from tests.conftest import Hospital, Series
from tests.contract.innereye_gateway import archive
from tests.contract.wire import BOUNDARY, Part, multipart

_ANSWERED_S = 240
_AGAIN_S = 0.5
_LATER_S = 240
_STOW = {
    "Content-Type": f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"',
    "Accept": "application/dicom+json",
}
_REGIONS = {Kind.UNROUTED: "FOOT", Kind.ASKED: "SHOULDER"}

MakeSeries = Callable[..., Series]
Ask = Callable[[], httpx2.Response]


@dataclass(slots=True)
class Clients:
    """The clients of all hospitals, on threads of their own."""

    hospitals: Sequence[Hospital]
    make_series: MakeSeries
    accepted: Mapping[str, Accepted] = field(init=False)
    asked: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.accepted = {each.institution: Accepted() for each in self.hospitals}

    def do(self, load: Load) -> None:
        """Do it, and return when it is answered."""
        hospital = self.hospitals[load.hospital]
        with self._lock:
            self.asked[load.kind.name.lower()] += 1
        act = {
            Kind.COMPLETE: self._upload,
            Kind.QUIET: partial(self._upload, complete=False),
            Kind.STOW: self._stow,
            Kind.LATE: self._late,
            Kind.AGAIN: self._twice,
            Kind.BAD: partial(self._upload, bad=(b"no DICOM", b"\0" * 128 + b"DICM")),
            Kind.UNROUTED: self._upload,
            Kind.FAILING: partial(self._upload, source="broken"),
            Kind.CANCELLED: self._cancelled,
            Kind.ASKED: self._asked,
            Kind.RUN: self._run,
            Kind.BAD_RUN: self._bad_run,
        }[load.kind]
        region = _REGIONS.get(load.kind, "ABDOMEN")
        act(hospital, self.make_series(load.sleep_ms, body_part=region, study_description=f"CT {region.lower()}"))

    def _upload(
        self,
        hospital: Hospital,
        series: Series,
        *,
        complete: bool = True,
        source: str = "sleepy",
        bad: Sequence[bytes] = (),
    ) -> None:
        self._send(hospital, series.instances, complete=complete, source=source, bad=bad)

    def _send(self, hospital: Hospital, instances: Sequence[bytes], *, bad: Sequence[bytes] = (), **how: Any) -> None:
        answer = self._answered(lambda: hospital.post_upload([*instances, *bad], **how))
        assert answer.status_code == 200, answer.text
        refused = [name for name, each in answer.json()["messages"].items() if not each["metadata"]]
        assert len(refused) == len(bad), answer.text
        self._note(hospital, instances)

    def _stow(self, hospital: Hospital, series: Series) -> None:
        url, body = hospital.url("/studies"), multipart([Part(each) for each in series.instances])
        headers = {**hospital.headers, **_STOW}
        # 202: some of them were stored when a store went away.
        answer = self._answered(lambda: hospital.http.post(url, headers=headers, content=body), until=(200,))
        stored = {each["00081155"]["Value"][0] for each in answer.json()["00081199"]["Value"]}
        assert stored == instances_of(series.instances).keys()
        self._note(hospital, series.instances)

    def _twice(self, hospital: Hospital, series: Series) -> None:
        self._upload(hospital, series)
        self._upload(hospital, series)

    def _late(self, hospital: Hospital, series: Series) -> None:
        *first, last = series.instances
        self._send(hospital, first, complete=True, source="sleepy")
        self._send(hospital, [last], complete=False, source="sleepy")

    def _cancelled(self, hospital: Hospital, series: Series) -> None:
        self._upload(hospital, series)
        job_id = self._job_of(hospital, series)
        answer = self._answered(
            lambda: hospital.http.post(hospital.url(f"/jobs/{job_id}/cancel"), headers=hospital.headers)
        )
        assert answer.status_code in (202, 409), answer.text

    def _asked(self, hospital: Hospital, series: Series) -> None:
        self._upload(hospital, series)
        asked = self._answered(lambda: hospital.get(f"/compute/{series.uid}"))
        again = self._answered(
            lambda: hospital.http.post(
                hospital.url(f"/compute/{series.uid}"), headers=hospital.headers, json={"recompute": True}
            )
        )
        assert asked.status_code in (200, 304), asked.text
        assert again.status_code == 200, again.text

    def _run(self, hospital: Hospital, series: Series) -> None:
        self._start(hospital, "sleeper:1.0.0", archive({"ct": series.instances}))

    def _bad_run(self, hospital: Hospital, series: Series) -> None:
        self._start(hospital, "broken:1.0.0", f"no zip, {series.uid}".encode())

    def _start(self, hospital: Hospital, model: str, body: bytes) -> None:
        url, headers = hospital.url(f"/v1/model/start/{model}"), {"API_AUTH_SECRET": hospital.token}
        answer = self._answered(lambda: hospital.http.post(url, headers=headers, content=body))
        assert answer.status_code == 201, answer.text
        with self._lock:
            self.accepted[hospital.institution].runs.add(answer.text)

    def _job_of(self, hospital: Hospital, series: Series) -> str:
        def found() -> str | None:
            answer = hospital.get("/jobs", limit="200")
            jobs = answer.json()["jobs"] if answer.status_code == 200 else []
            return next((job["id"] for job in jobs if job["subject_uid"] == series.uid), None)

        return eventually(found, timeout_s=_LATER_S, every_s=_AGAIN_S, what="job to be cancelled")

    def _answered(self, ask: Ask, *, until: Sequence[int] = ()) -> httpx2.Response:
        """Ask until it is not refused for a reason that passes, as clients do."""

        def answered() -> httpx2.Response | None:
            try:
                answer = ask()
            except httpx2.TransportError:
                self._not_answered(0)
                return None
            if answer.status_code >= 500 or (until and answer.status_code not in until):
                self._not_answered(answer.status_code)
                return None
            return answer

        return eventually(answered, timeout_s=_ANSWERED_S, every_s=_AGAIN_S, what="answer")

    def _not_answered(self, status: int) -> None:
        with self._lock:
            self.unanswered[status] += 1

    def _note(self, hospital: Hospital, instances: Sequence[bytes]) -> None:
        sizes = instances_of(instances)
        with self._lock:
            self.accepted[hospital.institution].instances.update(sizes)
