"""The inferencing API's one public client, replayed: what it sends, what it takes for fatal, what it makes of a result.

Written after CONTRACTS, section 3, "What the client does". It is as strict as the original, so that what passes here
passes there.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from radbus_cli.local.stack import LocalStack
from radbus_testing.waiting import eventually

from tests.contract.addresses import url

# The lists of the client's de-identification: all else is left away.
KEEP: Final = (
    *("PatientPosition", "ImageType", "Modality", "BodyPartExamined", "SOPClassUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)
HASH: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
FROM_REFERENCE: Final = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription"),
)
_TIMEOUT_S: Final = 30
_RETRIES_OF_503: Final = 3


class FatalError(Exception):
    """What makes the client give up on an image for good."""


def hashed(text: str) -> str:
    """Hash as the client does: 1 and each byte of the SHA-512 in decimal, two digits or more, cut to 64 characters."""
    return ("1" + "".join(f"{byte:02d}" for byte in hashlib.sha512(text.encode()).digest()))[:64]


def de_identified(instance: bytes) -> bytes:
    """Return the data set that the client uploads: the kept attributes, and hashes with VR LO, nothing else."""
    ds = pydicom.dcmread(io.BytesIO(instance))
    sent = Dataset()
    for keyword in KEEP:
        if keyword in ds:
            sent.add(ds[keyword])
    for keyword in HASH:
        sent.add(DataElement(keyword, "LO", hashed(str(ds[keyword].value))))
    sent.file_meta = FileMetaDataset()
    sent.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    sent.file_meta.MediaStorageSOPInstanceUID = hashed(str(ds.SOPInstanceUID))
    sent.file_meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    written = io.BytesIO()
    sent.save_as(written, enforce_file_format=True)
    return written.getvalue()


def archive(channels: Mapping[str, Sequence[bytes]], separator: str = "/") -> bytes:
    """Zip de-identified channels: entries `{ChannelID}/{index}`, no extension, the index counted across channels."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as entries:
        index = 0
        for channel, instances in channels.items():
            for instance in instances:
                entries.writestr(f"{channel}{separator}{index}", de_identified(instance))
                index += 1
    return written.getvalue()


@dataclass(slots=True)
class Gateway:
    """The client with its secret; `base` is cut to the host, as HttpClient does with a path that begins with `/`."""

    stack: LocalStack
    secret: str
    polls: int = field(default=0)

    def ping(self) -> None:
        """Ask as at the start; only a 403 stops the client."""
        status, _, _ = self._ask("GET", "/v1/ping")
        if status == 403:
            raise FatalError("the license key is wrong")

    def start(self, model_id: str, body: bytes) -> str:
        """Start a segmentation and return the run's id as it stands in the body."""
        status, headers, answer = self._ask("POST", f"/v1/model/start/{model_id}", body)
        if status != 201:
            raise FatalError(f"start: {status} {answer!r}")
        if headers.get("content-type") != "text/plain":
            raise FatalError(f"start: no formatter for {headers.get('content-type')!r}")
        return answer.decode("ascii")

    def result(self, run_id: str, *, every_s: float = 0.2, timeout_s: float = 60) -> bytes:
        """Poll at once and then again and again, until there is a zip of exactly one entry; return that entry."""

        def entry() -> bytes | None:
            self.polls += 1
            status, headers, answer = self._ask("GET", f"/v1/model/results/{run_id}")
            if status == 200:
                return _only_entry(answer)
            if status != 202:
                raise FatalError(f"results: {status} {answer!r}")
            if answer:
                raise FatalError(f"results: 202 with the body {answer!r}")
            if headers.get("content-type") not in (None, "text/html; charset=utf-8"):
                raise FatalError(f"results: 202 with {headers.get('content-type')!r}")
            return None

        return eventually(entry, timeout_s=timeout_s, every_s=every_s, what=f"result of the run {run_id}")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        for _ in range(1 + _RETRIES_OF_503):
            answer = self._ask_once(method, path, body)
            if answer[0] != 503:
                break
        return answer

    def _ask_once(self, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(urlsplit(url(self.stack, path)).netloc, timeout=_TIMEOUT_S)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            connection.putheader("Accept", "text/html")
            connection.putheader("API_AUTH_SECRET", self.secret)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            came = connection.getresponse()
            return came.status, {name.lower(): value for name, value in came.getheaders()}, came.read()
        finally:
            connection.close()


def _only_entry(content: bytes) -> bytes:
    try:
        entries = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise FatalError("the result is no zip") from error
    if len(entries.infolist()) != 1:
        raise FatalError(f"expected one entry, got {entries.namelist()}")
    return entries.read(entries.infolist()[0])


def re_identified(result: bytes, references: Sequence[bytes]) -> Dataset:
    """Turn every known hash back, however deep, and copy patient and study from the first reference image."""
    ds = pydicom.dcmread(io.BytesIO(result))
    read = [pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True) for each in references]
    known = {hashed(str(each[keyword].value)): str(each[keyword].value) for each in read for keyword in HASH}
    _turn_back(ds, known)
    for keyword in FROM_REFERENCE:
        if keyword in read[0]:
            ds.add(read[0][keyword])
    return ds


def _turn_back(ds: Dataset, known: Mapping[str, str]) -> None:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                _turn_back(item, known)
        elif isinstance(element.value, str) and element.value in known:
            element.value = known[element.value]
