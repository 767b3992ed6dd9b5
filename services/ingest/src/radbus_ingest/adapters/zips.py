"""Take archives of instances apart, one entry at a time; nothing is ever written under an entry's name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from radbus_ingest.adapters.spool import NewSpool, Spool
from radbus_ingest.domain.limits import Limits, ZipRefusedError

_ENCRYPTED: Final = 0x1
_BLOCK_BYTES: Final = 256 * 1024
_DIRECTORY_LIMIT_BYTES: Final = 4 * 1024 * 1024
_SMALL_BYTES: Final = 256 * 1024 * 1024  # below this sum no ratio is suspicious: empty masks shrink a thousandfold


class Archive:
    """A zip of instances; all its methods block, so call them in a thread."""

    def __init__(self, spool: Spool, limits: Limits) -> None:
        """Read the directory of a zip.

        Raises:
            ZipRefusedError: It is damaged, or holds more than the limits allow.
        """
        with _foreign_errors():
            self._zip = ZipFile(cast("BinaryIO", _BoundedReads(spool.file)))
            self.entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        if len(self.entries) > limits.zip_entry_count:
            raise ZipRefusedError(f"expected a zip of at most {limits.zip_entry_count} entries")
        inflated_bytes = sum(entry.file_size for entry in self.entries)
        if inflated_bytes > limits.zip_inflated_bytes:
            raise ZipRefusedError(f"expected a zip of at most {limits.zip_inflated_bytes} bytes when inflated")
        if inflated_bytes > max(_SMALL_BYTES, limits.zip_ratio * spool.size_bytes):
            raise ZipRefusedError(f"expected a zip that grows at most {limits.zip_ratio} times when inflated")

    def spool(self, entry: ZipInfo, new_spool: NewSpool) -> Spool:
        """Inflate one entry, never beyond the size that the directory gave.

        Raises:
            ZipRefusedError: It is encrypted, damaged, compressed in an unusual way, or a zip itself.
            OSError: The disk is full.
        """
        if entry.flag_bits & _ENCRYPTED:
            raise ZipRefusedError("expected a zip entry that is not encrypted")
        if entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise ZipRefusedError("expected a zip entry that is stored or deflated")
        spool = new_spool()
        try:
            self._inflate(entry, spool)
            _refuse_zip(spool)
        except BaseException:
            spool.close()
            raise
        return spool

    def _inflate(self, entry: ZipInfo, spool: Spool) -> None:
        with _foreign_errors():
            content = self._zip.open(entry)
        with content:
            while not spool.is_too_large:
                with _foreign_errors():
                    block = content.read(_BLOCK_BYTES)
                if not block:
                    return
                spool.write(block)


def _refuse_zip(spool: Spool) -> None:
    if spool.is_zip():
        raise ZipRefusedError("expected instances in the zip, not another zip")


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
        """Leave the spool open; its owner closes it."""


@contextmanager
def _foreign_errors() -> Iterator[None]:
    try:
        yield
    except (BadZipFile, LargeZipFile, EOFError, LookupError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ZipRefusedError(f"expected a whole zip; it is damaged ({type(error).__name__})") from None
    except (OSError, OverflowError, struct.error, zlib.error) as error:
        raise ZipRefusedError(f"expected a whole zip; it is damaged ({type(error).__name__})") from None
