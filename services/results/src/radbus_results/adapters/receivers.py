"""Calling a webhook: one POST with a deadline, of whose answer nothing but the status counts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2

_ANSWER_LIMIT_BYTES: Final = 16 * 1024
_RETRY_AFTER: Final = re.compile(r"\d{1,6}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; `fault` is None where the receiver has taken it.

    `is_away`: it would take nothing else now either.
    """

    fault: str | None = None
    is_away: bool = False
    retry_after_s: float | None = None


class Receivers:
    """Calls receivers by HTTP(S), over connections that are kept."""

    def __init__(self, *, deadline_s: float, at_once: int) -> None:
        self._deadline_s = deadline_s
        self._http = httpx2.AsyncClient(
            timeout=deadline_s,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none is kept
            limits=httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=30),
        )

    async def tell(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send an event; whatever goes wrong is an answer, too, and never names the address."""
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._http.stream("POST", url, content=body, headers=headers) as answer,
            ):
                await _read_to_end(answer)
                if answer.is_success:
                    return Answer()
                hint = "; redirects are not followed" if answer.is_redirect else ""
                is_away = answer.is_server_error or answer.status_code == httpx2.codes.TOO_MANY_REQUESTS
                return Answer(f"answered {answer.status_code}{hint}", is_away, _retry_after_s(answer.headers))
        except (TimeoutError, httpx2.TimeoutException):
            return Answer(f"no answer in {self._deadline_s:g} s", is_away=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return Answer(f"not reached ({type(error).__name__})", is_away=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _read_to_end(answer: httpx2.Response) -> None:
    """Read a short answer whole, so that its connection can be used again; of a long one no more than its beginning."""
    size = 0
    async for piece in answer.aiter_raw():
        size += len(piece)
        if size > _ANSWER_LIMIT_BYTES:
            break


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    given = headers.get("retry-after", "")
    return float(given) if _RETRY_AFTER.fullmatch(given) else None
