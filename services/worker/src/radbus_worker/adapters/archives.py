"""Open an uploaded archive: bounded, nothing is written under an entry's own name. For the process pool."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from radbus_dicom.errors import InvalidInstance, SeriesNotUsable
from radbus_dicom.reading import Profile, read_header

from radbus_worker.domain.archives import ArchiveEntry, ArchiveLimits, channel_of

_ENCRYPTED: Final = 0x1
_FOLDER: Final = 0x10  # of the attributes that DOS gives to a file
_BLOCK_BYTES: Final = 1024 * 1024
_DIRECTORY_LIMIT_BYTES: Final = 4 * 1024 * 1024
_DAMAGED: Final = "Expected a zip archive of DICOM instances; this is none, or it is damaged."


@dataclass(frozen=True, slots=True)
class UploadedInstance:
    """What is needed of an unpacked instance; `elements` holds only the keywords that were asked for."""

    path: Path
    sop_instance_uid: str
    series_instance_uid: str
    elements: Mapping[str, object]


def read_entries(archive: Path, limits: ArchiveLimits) -> list[ArchiveEntry]:
    """Read the directory of an archive.

    Raises:
        SeriesNotUsable: It is no zip, damaged, encrypted, or holds more than the limits allow.
    """
    with _opened(archive) as content:
        entries = content.infolist()
    if len(entries) > limits.entries:
        raise SeriesNotUsable(f"Expected an archive of at most {limits.entries} entries.")
    if not limits.allow_inflated(sum(entry.file_size for entry in entries), archive.stat().st_size):
        raise SeriesNotUsable("Expected an archive that grows less when it is unpacked.")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise SeriesNotUsable("Expected an archive that is not encrypted.")
    if any(entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED} for entry in entries):
        raise SeriesNotUsable("Expected an archive whose entries are stored or deflated.")
    channels = [None if entry.external_attr & _FOLDER else channel_of(entry.filename) for entry in entries]
    return [ArchiveEntry(index, channel) for index, channel in enumerate(channels) if channel is not None]


def unpack(archive: Path, work: Sequence[tuple[int, Path]], keywords: Sequence[str]) -> list[UploadedInstance]:
    """Write some entries, each to a path of our own, and read their headers.

    Raises:
        SeriesNotUsable: An entry is damaged, or no instance.
    """
    with _opened(archive) as content:
        entries = content.infolist()
        for index, path in work:
            _write(content, entries[index], path)
    return [_read(path, keywords) for _, path in work]


def _write(content: ZipFile, entry: ZipInfo, path: Path) -> None:
    with _foreign_errors():
        source = content.open(entry)
    with source, path.open("xb") as target:
        while True:
            with _foreign_errors():
                block = source.read(_BLOCK_BYTES)  # never beyond the size that the directory gave
            if not block:
                return
            target.write(block)


def _read(path: Path, keywords: Sequence[str]) -> UploadedInstance:
    with path.open("rb") as file:
        try:
            header = read_header(file, size_bytes=path.stat().st_size, profile=Profile.TOLERANT)
        except InvalidInstance as error:
            raise SeriesNotUsable(f"An instance of the archive cannot be read: {error}.") from None
    granted = {word: header.elements[word] for word in keywords if word in header.elements}
    return UploadedInstance(path, header.sop_instance_uid, header.series_instance_uid, granted)


@contextmanager
def _opened(archive: Path) -> Iterator[ZipFile]:
    with archive.open("rb") as file:
        with _foreign_errors():
            content = ZipFile(cast("BinaryIO", _BoundedReads(file)))
        yield content


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
    except (BadZipFile, LargeZipFile, EOFError, LookupError, NotImplementedError, RuntimeError, ValueError):
        raise SeriesNotUsable(_DAMAGED) from None
    except (OSError, OverflowError, struct.error, zlib.error):
        raise SeriesNotUsable(_DAMAGED) from None
