"""Read a deflated data set without ever holding more of it than is asked for (zip bombs: 195 KB may be 190 MB)."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from radbus_dicom.errors import InvalidInstance

_CHUNK_BYTES = 64 * 1024
_KEPT_BEHIND_BYTES = 128 * 1024  # pydicom steps back by 12 bytes, in a search for a delimiter by 8 KiB
_DROP_OVER_BYTES = 1024 * 1024


class InflatingReader:
    """A file-like object over raw deflate (PS3.5 A.5): forward seeks anywhere, backward seeks within a window.

    Raises:
        InvalidInstance: More than `limit_bytes` were to be inflated, or the stream is damaged or cut.
    """

    def __init__(self, file: BinaryIO, *, limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._window = bytearray()
        self._window_start = 0
        self._position = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` inflated bytes, all that is left with -1."""
        wanted_end = self._limit_bytes + 1 if size < 0 else self._position + size
        self._fill_to(wanted_end)
        start = self._position - self._window_start
        piece = bytes(self._window[start : start + (wanted_end - self._position)])
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset` from the start (0) or from here (1)."""
        target = offset if whence == 0 else self._position + offset
        if target < self._window_start:
            raise InvalidInstance("expected a deflated data set that can be read forwards only")
        self._position = target
        return target

    def tell(self) -> int:
        """Return the position in the inflated data set."""
        return self._position

    def _fill_to(self, end: int) -> None:
        while not self._ended and self._window_start + len(self._window) < end:
            self._inflate_chunk()
            self._drop_what_was_passed()

    def _inflate_chunk(self) -> None:
        source = self._stream.unconsumed_tail or self._file.read(_CHUNK_BYTES)
        try:
            piece = self._stream.decompress(source, _CHUNK_BYTES)
        except zlib.error as error:
            raise InvalidInstance("expected a deflated data set (PS3.5 A.5); the stream is damaged") from error
        self._window += piece
        if self._window_start + len(self._window) > self._limit_bytes:
            raise InvalidInstance(f"expected a data set of at most {self._limit_bytes} bytes when inflated")
        if self._stream.eof:
            self._ended = True
        elif not source and not piece:
            raise InvalidInstance("expected a whole deflated data set; the stream ends too early")

    def _drop_what_was_passed(self) -> None:
        if len(self._window) <= _DROP_OVER_BYTES:
            return
        kept_from = min(self._position - _KEPT_BEHIND_BYTES, self._window_start + len(self._window))
        dropped = kept_from - self._window_start
        if dropped > 0:
            del self._window[:dropped]
            self._window_start = kept_from
