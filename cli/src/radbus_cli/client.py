"""The HTTP calls that the commands make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from radbus_contracts.errors import PermanentError, TransientError

from radbus_cli.target import Target

_TIMEOUT_S = 120.0


class UnreachableError(TransientError):
    """Nothing answered at the address."""


class RefusedError(PermanentError):
    """A service answered, and not with what was asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status with its JSON."""

    status: int
    body: Any


class Client:
    """Speaks the public API with one token."""

    def __init__(
        self, target: Target, *, source: str | None = None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Token {target.token}", "User-Agent": "radbus-cli"}
        if source is not None:
            headers["Source"] = source
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise RefusedError("expected a token and a source of printable ASCII characters: they go into HTTP headers")
        self._target = target
        self._http = httpx2.Client(headers=headers, timeout=_TIMEOUT_S, transport=transport)

    def upload(self, paths: Sequence[Path], *, series_complete: bool) -> Answer:
        """Send instances in one request."""
        headers = {"X-Series-Complete": "true"} if series_complete else {}
        with ExitStack() as stack:
            files = [
                (f"file{number}", (path.name, stack.enter_context(path.open("rb")), "application/dicom"))
                for number, path in enumerate(paths)
            ]
            return self._ask("POST", "/upload", files=files, headers=headers)

    def results(self, uid: str) -> Answer:
        """Ask for the result of a series, study or instance."""
        return self._ask("GET", f"/results/{quote(uid, safe='')}")

    def explain(self, series: Sequence[Mapping[str, Any]], source: Mapping[str, Any]) -> Answer:
        """Ask which use cases would match."""
        return self._ask("POST", "/explain", json={"series": list(series), "source": dict(source)})

    def compute(self, uid: str, *, recompute: bool) -> Answer:
        """Ask for the computation of a series, study or an instance's series."""
        return self._ask("POST", f"/compute/{quote(uid, safe='')}", json={"recompute": recompute})

    def jobs(self, query: Mapping[str, str]) -> Answer:
        """List jobs."""
        return self._ask("GET", "/jobs", params=dict(query))

    def job(self, job_id: str) -> Answer:
        """Read a job."""
        return self._ask("GET", f"/jobs/{quote(job_id, safe='')}")

    def cancel(self, job_id: str) -> Answer:
        """Ask to stop a job."""
        return self._ask("POST", f"/jobs/{quote(job_id, safe='')}/cancel")

    def retry(self, job_id: str) -> Answer:
        """Ask to let a job go on that has failed or was cancelled."""
        return self._ask("POST", f"/jobs/{quote(job_id, safe='')}/retry")

    def rerun(self, uid: str, job_id: str) -> Answer:
        """Ask to run a job of a series or study once more, as a new job."""
        return self._ask("POST", f"/compute/{quote(uid, safe='')}", json={"rerun": job_id})

    def _ask(self, method: str, path: str, **options: Any) -> Answer:
        try:
            response = self._http.request(method, f"{self._target.url}{path}", **options)
        except httpx2.InvalidURL as error:
            raise RefusedError(f"expected an address and an id that make a URL ({error})") from error
        except httpx2.HTTPError as error:
            raise UnreachableError(
                f"no answer at {self._target.url} ({type(error).__name__}); see `radbus status`"
            ) from error
        try:
            return Answer(response.status_code, response.json() if response.content else None)
        except ValueError:
            raise RefusedError(f"{self._target.url} answered {response.status_code} without JSON") from None


def expect(answer: Answer, *statuses: int) -> Any:
    """Return the body of an answer of one of these statuses.

    Raises:
        RefusedError: It has another.
    """
    if answer.status not in statuses:
        said = answer.body.get("message") or answer.body.get("detail") if isinstance(answer.body, dict) else None
        raise RefusedError(f"the service answered {answer.status}: {said or 'no reason given'}")
    return answer.body
