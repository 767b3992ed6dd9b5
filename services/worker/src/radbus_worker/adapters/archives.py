"""Open an uploaded archive: nothing is written under an entry's own name. For the process pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import ZipInfo

from radbus_dicom.errors import InvalidInstance, SeriesNotUsable, ZipNotValid
from radbus_dicom.reading import Profile, read_header
from radbus_dicom.zips import BoundedZip, ZipLimits, check_entry

from radbus_worker.domain.archives import ArchiveEntry, channel_of

_FOLDER: Final = 0x10  # of the attributes that DOS gives to a file


@dataclass(frozen=True, slots=True)
class UploadedInstance:
    """What is needed of an unpacked instance; `elements` holds only the keywords that were asked for."""

    path: Path
    sop_instance_uid: str
    series_instance_uid: str
    elements: Mapping[str, object]


def read_entries(archive: Path, limits: ZipLimits) -> list[ArchiveEntry]:
    """Read the directory of an archive.

    Raises:
        SeriesNotUsable: It is no zip, damaged, encrypted, or holds more than the limits allow.
    """
    with _opened(archive) as content:
        content.check(limits, size_bytes=archive.stat().st_size)
        for entry in content.entries:
            check_entry(entry)
        channels = [_channel(entry) for entry in content.entries]
    return [ArchiveEntry(index, channel) for index, channel in enumerate(channels) if channel is not None]


def unpack(archive: Path, work: Sequence[tuple[int, Path]], keywords: Sequence[str]) -> list[UploadedInstance]:
    """Write some entries, each to a path of our own, and read their headers.

    Raises:
        SeriesNotUsable: An entry is damaged, or no instance.
    """
    with _opened(archive) as content:
        for index, path in work:
            with path.open("xb") as target:
                target.writelines(content.blocks(content.entries[index]))
    return [_read(path, keywords) for _, path in work]


def _channel(entry: ZipInfo) -> str | None:
    return None if entry.external_attr & _FOLDER else channel_of(entry.filename)


def _read(path: Path, keywords: Sequence[str]) -> UploadedInstance:
    with path.open("rb") as file:
        try:
            header = read_header(file, size_bytes=path.stat().st_size, profile=Profile.TOLERANT)
        except InvalidInstance as error:
            raise SeriesNotUsable(f"An instance of the archive cannot be read: {error}.") from None
    granted = {word: header.elements[word] for word in keywords if word in header.elements}
    return UploadedInstance(path, header.sop_instance_uid, header.series_instance_uid, granted)


@contextmanager
def _opened(archive: Path) -> Iterator[BoundedZip]:
    with archive.open("rb") as file:
        try:
            yield BoundedZip(file)
        except ZipNotValid as error:
            raise SeriesNotUsable(f"The archive cannot be read: {error}.") from None
