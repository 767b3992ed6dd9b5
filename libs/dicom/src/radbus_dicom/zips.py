"""Read zip archives that strangers made: bounded, one entry at a time, and nothing is extracted under its own name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from radbus_dicom.errors import ZipNotValid

_ENCRYPTED: Final = 0x1
_ENTRY_HEADER_BYTES: Final = 30  # and its name
_BLOCK_BYTES: Final = 512 * 1024
_DIRECTORY_LIMIT_BYTES: Final = 4 * 1024 * 1024
_SMALL_BYTES: Final = 256 * 1024 * 1024  # below this sum no ratio is suspicious: empty masks shrink a thousandfold


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What a zip may hold; folders are no entries."""

    entries: int = 20_000
    inflated_bytes: int = 8 * 1024**3
    ratio: int = 200


class BoundedZip:
    """An open zip; all its methods block, so call them in a thread."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the directory of a zip; the file stays its owner's.

        Raises:
            ZipNotValid: It is no zip, or damaged.
        """
        with _foreign_errors():
            self._zip = ZipFile(cast("BinaryIO", _BoundedReads(file)))
        self.entries = self._zip.infolist()

    def check(self, limits: ZipLimits, *, size_bytes: int) -> None:
        """Compare what the directory says with the limits; `size_bytes` is the size of the zip.

        Raises:
            ZipNotValid: It holds more.
        """
        if sum(not is_folder(entry) for entry in self.entries) > limits.entries:
            raise ZipNotValid(f"expected a zip of at most {limits.entries} entries")
        if self._overlaps():
            raise ZipNotValid("expected a zip whose entries lie one behind the other; some lie in others")
        inflated_bytes = self.inflated_bytes
        if inflated_bytes > limits.inflated_bytes:
            raise ZipNotValid(f"expected a zip of at most {limits.inflated_bytes} bytes when inflated")
        if inflated_bytes > max(_SMALL_BYTES, limits.ratio * size_bytes):
            raise ZipNotValid(f"expected a zip that grows at most {limits.ratio} times when inflated")

    @property
    def inflated_bytes(self) -> int:
        """How large all entries are together, as the directory says; `blocks` gives no more."""
        return sum(entry.file_size for entry in self.entries)

    def _overlaps(self) -> bool:
        """Say whether the same bytes are in several entries: small zips that inflate without end are made so."""
        spans = sorted((entry.header_offset, entry.compress_size) for entry in self.entries)
        ends = [*(offset for offset, _ in spans[1:]), self._zip.start_dir]
        return any(offset + _ENTRY_HEADER_BYTES + size > end for (offset, size), end in zip(spans, ends, strict=False))

    def blocks(self, entry: ZipInfo) -> Generator[bytes, None, None]:
        """Inflate one entry, never beyond the size that the directory gave.

        Raises:
            ZipNotValid: It is encrypted, damaged, or compressed in an unusual way.
        """
        check_entry(entry)
        with _foreign_errors():
            content = self._zip.open(entry)
        with content:
            while True:
                with _foreign_errors():
                    block = content.read(_BLOCK_BYTES)
                if not block:
                    return
                yield block


def is_folder(entry: ZipInfo) -> bool:
    """Say whether an entry is a folder; one without any name is none."""
    return entry.filename.endswith("/")


def check_entry(entry: ZipInfo) -> None:
    """Look at how an entry was packed.

    Raises:
        ZipNotValid: It is encrypted, or compressed in an unusual way.
    """
    if entry.flag_bits & _ENCRYPTED:
        raise ZipNotValid("expected a zip entry that is not encrypted")
    if entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        raise ZipNotValid("expected a zip entry that is stored or deflated")


class _BoundedReads:
    """A file that refuses to be read in one go where a false directory asks for it."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._read = file.read

    def read(self, size: int = -1) -> bytes:
        content = self._read(_DIRECTORY_LIMIT_BYTES + 1 if size < 0 else min(size, _DIRECTORY_LIMIT_BYTES + 1))
        if len(content) > _DIRECTORY_LIMIT_BYTES:
            raise BadZipFile
        return content

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Leave the file open; its owner closes it."""


@contextmanager
def _foreign_errors() -> Iterator[None]:
    try:
        yield
    except (
        BadZipFile,
        LargeZipFile,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise ZipNotValid(f"expected a whole zip; this is none, or it is damaged ({type(error).__name__})") from None
