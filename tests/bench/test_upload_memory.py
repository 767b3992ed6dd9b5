"""The memory that ingest takes for 1.5 GB: as many instances, as one zip, as one giant instance (`make bench`).

All is generated while it is sent, so that neither side ever holds it.
"""

from __future__ import annotations

import csv
import io
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from rich.console import Console
from rich.table import Table

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
SIZE_MIB = 1536

_FRAME_BYTES = 512 * 512 * 2
_BOUNDARY = b"upload-memory"
_DEADLINE_S = 600
_SAMPLE_EVERY_S = 0.05


def test_the_memory_of_ingest_while_it_takes_in_1536_mib(hospital):
    forms: dict[str, tuple[str, Callable[[int], Iterator[bytes]]]] = {
        "instances": (f"multipart/related; type=application/dicom; boundary={_BOUNDARY.decode()}", _multipart),
        "zip": ("application/zip", _zip),
        "giant": ("application/dicom", _giant),
    }

    rows = [_row(hospital, form, content_type, body) for form, (content_type, body) in forms.items()]

    table = Table(*rows[0], title="1.5 GB in one request")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=100).print(table)
    with (ROOT / "bench-upload-memory.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _row(hospital, form: str, content_type: str, body: Callable[[int], Iterator[bytes]]) -> dict[str, object]:
    pid = next(program.pid for program in hospital.stack.status() if program.name == "ingest")
    before = _rss_mib(pid)
    with _Peak(pid) as peak:
        started = time.monotonic()
        answer = requests.post(
            hospital.url("/upload"),
            data=body(SIZE_MIB * 1024 * 1024),
            headers={**hospital.headers, "Content-Type": content_type},
            timeout=_DEADLINE_S,
        )
        duration_s = time.monotonic() - started
    assert answer.status_code == 200, answer.text[:500]
    return {
        "form": form,
        "duration s": round(duration_s, 1),
        "MiB/s": round(SIZE_MIB / duration_s),
        "RSS before, MiB": round(before),
        "RSS peak, MiB": round(peak.mib),
    }


class _Peak:
    """Samples a program's resident memory until it is left."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.mib = 0.0

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._left.wait(_SAMPLE_EVERY_S):
            self.mib = max(self.mib, _rss_mib(self._pid))


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _instances(size_bytes: int) -> Iterator[bytes]:
    study, series, noise = generate_uid(), generate_uid(), os.urandom(_FRAME_BYTES)
    template = generate_uid()
    instance = _instance(study, series, template, frames=1) + noise
    for number in range(size_bytes // len(instance)):
        # A UID of the same length, so that no length in the header changes.
        yield instance.replace(template.encode(), f"{template[:-7]}{number:07d}".encode())


def _multipart(size_bytes: int) -> Iterator[bytes]:
    for instance in _instances(size_bytes):
        yield b"\r\n--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
        yield instance
    yield b"\r\n--" + _BOUNDARY + b"--\r\n"


def _zip(size_bytes: int) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, instance in enumerate(_instances(size_bytes)):
            archive.writestr(f"ct/{number}.dcm", instance)
            yield pipe.taken()
    yield pipe.taken()


def _giant(size_bytes: int) -> Iterator[bytes]:
    frames = size_bytes // _FRAME_BYTES
    yield _instance(generate_uid(), generate_uid(), generate_uid(), frames=frames)
    noise = os.urandom(_FRAME_BYTES)
    for _ in range(frames):
        yield noise


class _Pipe(io.RawIOBase):
    """A file without seek whose content is taken as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._written += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]

    def taken(self) -> bytes:
        content = bytes(self._written)
        self._written.clear()
        return content


def _instance(study: UID, series: UID, sop: UID, *, frames: int) -> bytes:
    """Return an instance up to its pixels, with their tag and length."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage if frames == 1 else EnhancedCTImageStorage
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = sop, study, series
    ds.Modality = "CT"
    ds.PatientID, ds.PatientName = "BENCH", "Bench^Upload"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 512, 512, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = sop
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    length = (frames * _FRAME_BYTES).to_bytes(4, "little")
    return buffer.getvalue() + b"\xe0\x7f\x10\x00OW\x00\x00" + length
