"""Reading a folder of DICOM as the commands need it: the instances by series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radbus_contracts.errors import PermanentError

if TYPE_CHECKING:
    from radbus_dicom.reading import Header


class NothingToSendError(PermanentError):
    """A folder without any DICOM instance."""


@dataclass(slots=True)
class FolderSeries:
    """One series of a folder."""

    series_instance_uid: str
    paths: list[Path] = field(default_factory=list)
    header: Header | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What a use case's conditions see of it."""
        elements = dict(self.header.elements) if self.header else {}
        return {**elements, "instances": len(self.paths)}


def read_folder(folder: Path) -> tuple[list[FolderSeries], dict[Path, str]]:
    """Group the instances below a folder by series; what is none that can be sent comes second, with the reason.

    Raises:
        NothingToSendError: There is none.
    """
    from radbus_dicom.reading import InvalidInstance, read_header

    found: dict[str, FolderSeries] = {}
    others: dict[Path, str] = {}
    for path in _files(folder):
        try:
            with path.open("rb") as file:
                header = read_header(file, size_bytes=path.stat().st_size)
        except InvalidInstance as error:
            others[path] = str(error)
            continue
        except OSError as error:
            others[path] = f"cannot be read: {error.strerror}"
            continue
        series = found.setdefault(header.series_instance_uid, FolderSeries(header.series_instance_uid))
        series.paths.append(path)
        series.header = series.header or header
    if not found:
        raise NothingToSendError(f"{folder}: expected at least one DICOM instance")
    return list(found.values()), others


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
