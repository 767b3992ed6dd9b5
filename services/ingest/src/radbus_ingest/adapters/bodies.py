"""Read the body of a request, in whichever form it came, as a stream of parts and with bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from fastapi import Request
from python_multipart.multipart import parse_options_header
from radbus_runtime.http import declared_bytes
from starlette.requests import ClientDisconnect

from radbus_ingest.adapters.multipart import MultipartBody
from radbus_ingest.adapters.spool import Part, Room, Spool
from radbus_ingest.domain.limits import BodyError, BodyKindError, BodyLateError, BodyTooLargeError, Limits
from radbus_ingest.domain.pace import Pace

_FEED_BYTES: Final = 256 * 1024  # one hop to a thread for so many bytes
_BARE_NAME: Final = "file0"
_ZIP_TYPES: Final = frozenset({"application/zip", "application/x-zip-compressed", "application/x-zip"})


class BodyForm(StrEnum):
    """The forms in which instances come."""

    FORM_DATA = "multipart/form-data"
    RELATED = "multipart/related"
    BARE = "application/dicom"
    ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class BodyKind:
    """What the Content-Type says; `parts_type` is the `type` parameter of multipart/related."""

    form: BodyForm
    boundary: bytes | None = None
    parts_type: str | None = None


def body_kind(content_type: str | None) -> BodyKind:
    """Read a Content-Type; quoted and unquoted parameters are equal.

    Raises:
        BodyKindError: No instances come in this media type.
    """
    media_type, options = parse_options_header((content_type or "").encode("latin-1", "replace"))
    kind = media_type.decode("latin-1").lower()
    if kind.startswith("multipart/"):
        form = BodyForm.FORM_DATA if kind == BodyForm.FORM_DATA else BodyForm.RELATED
        parts_type = options.get(b"type", b"").decode("latin-1").lower().partition(";")[0].strip() or None
        return BodyKind(form, options.get(b"boundary") or None, parts_type)
    if kind in _ZIP_TYPES:
        return BodyKind(BodyForm.ZIP)
    if kind in {"application/dicom", "application/octet-stream"}:
        return BodyKind(BodyForm.BARE)
    raise BodyKindError("expected multipart/form-data, multipart/related, application/dicom or application/zip")


class GoOn(Protocol):
    """Waits until there is room for more of a body."""

    async def __call__(self) -> None:
        """Raise BodyError when there is none for too long."""
        ...


class BodyReader:
    """Turns requests into parts."""

    def __init__(self, room: Room, limits: Limits, *, go_on: GoOn) -> None:
        self._room = room
        self._limits = limits
        self._go_on = go_on

    def new_spool(self) -> Spool:
        """Make a place for one part's bytes."""
        return Spool(self._room, limit_bytes=self._limits.part_bytes)

    async def parts(self, request: Request, kind: BodyKind) -> AsyncGenerator[Part, None]:
        """Read a body; each part's receiver closes its spool.

        Raises:
            BodyError: The body was cut, is not of its kind, or is above a limit.
            OSError: The disk is full.
        """
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise BodyKindError("expected a body without Content-Encoding")
        blocks = self._blocks(request)
        async with aclosing(blocks):
            parts = self._bare(blocks) if kind.form in {BodyForm.BARE, BodyForm.ZIP} else self._multipart(blocks, kind)
            async with aclosing(parts):
                async for part in parts:
                    yield part

    async def _multipart(self, blocks: AsyncIterator[bytes], kind: BodyKind) -> AsyncGenerator[Part, None]:
        body = MultipartBody(kind.boundary, self.new_spool, part_limit=self._limits.part_count)
        try:
            async for block in blocks:
                ready = await asyncio.to_thread(body.feed, block)
                while ready:
                    yield ready.pop(0)
            body.finish()
        finally:
            body.close()

    async def whole(self, request: Request) -> Spool:
        """Read a body as it is, whatever it is and though it be empty; the caller closes the spool.

        Raises:
            BodyError: The body was cut, or is above a limit.
            OSError: The disk is full.
        """
        blocks = self._blocks(request)
        async with aclosing(blocks):
            return await self._spooled(blocks)

    async def _bare(self, blocks: AsyncIterator[bytes]) -> AsyncGenerator[Part, None]:
        spool = await self._spooled(blocks)
        if not spool.size_bytes:
            spool.close()
            raise BodyError("expected a body; it is empty")
        yield Part(_BARE_NAME, spool)

    async def _spooled(self, blocks: AsyncIterator[bytes]) -> Spool:
        spool = self.new_spool()
        try:
            async for block in blocks:
                await asyncio.to_thread(spool.write, block)
                if spool.is_too_large:
                    break
        except BaseException:
            spool.close()
            raise
        if spool.is_too_large:
            spool.close()
            raise BodyTooLargeError(f"expected at most {self._limits.part_bytes} bytes")
        return spool

    async def _blocks(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Gather the small pieces in which a body comes into larger ones."""
        limit_bytes = self._limits.request_bytes
        if declared_bytes(request.headers) > limit_bytes:
            raise BodyTooLargeError(f"expected a body of at most {limit_bytes} bytes")
        gathered, waiting_bytes, total_bytes = [], 0, 0
        stream = request.stream()
        pace = Pace(least_bytes_per_s=self._limits.body_least_bytes_per_s, within_s=self._limits.body_idle_s)
        finish_by = time.monotonic() + self._limits.body_s
        while (piece := await self._next_piece(stream, pace, finish_by)) is not None:
            gathered.append(piece)
            waiting_bytes += len(piece)
            total_bytes += len(piece)
            if total_bytes > limit_bytes:
                raise BodyTooLargeError(f"expected a body of at most {limit_bytes} bytes")
            if waiting_bytes >= _FEED_BYTES:
                # Behind what was fed before: what is not read stays with the client, which is slowed down by it.
                await self._go_on()
                yield b"".join(gathered)
                gathered, waiting_bytes = [], 0
        if gathered:
            await self._go_on()
            yield b"".join(gathered)

    async def _next_piece(self, stream: AsyncIterator[bytes], pace: Pace, finish_by: float) -> bytes | None:
        started = time.monotonic()
        left_s = finish_by - started
        try:
            async with asyncio.timeout(min(pace.left_s, left_s)):
                piece = await anext(stream, None)
        except TimeoutError:
            expected = f"it whole in {self._limits.body_s:g} s"
            if pace.left_s < left_s:
                expected = f"{pace.least_bytes} bytes of the body or more in each {pace.within_s:g} s"
            raise BodyLateError(f"expected {expected}") from None
        except ClientDisconnect:
            raise BodyError("expected more of the body; the client went away") from None
        pace.came(len(piece or b""), waited_s=time.monotonic() - started)
        return piece
