"""Reading the small body of a request that is not read by its form: within a size, and within a time."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import HTTPException, Request
from radbus_contracts.errors import PermanentError
from starlette.requests import ClientDisconnect

_WITHIN_S: Final = 10.0


class BodyError(PermanentError):
    """A body that did not come whole and in time, or is not of its form."""


async def small_body(request: Request, *, limit_bytes: int, within_s: float = _WITHIN_S) -> bytes:
    """Read a body whole.

    Raises:
        HTTPException: 413, it is above the limit.
        BodyError: It did not come whole, or not in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for piece in request.stream():
                body += piece
                if len(body) > limit_bytes:
                    raise HTTPException(413, f"expected a body of at most {limit_bytes} bytes")
    except TimeoutError:
        raise BodyError(f"expected the whole body within {within_s:g} s") from None
    except ClientDisconnect:
        raise BodyError("expected more of the body; the client went away") from None
    return bytes(body)
