"""What can be wrong with DICOM that was given to radbus; texts say what was expected and hold no patient data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from pydicom.errors import BytesLengthException
from radbus_contracts.errors import PermanentError


class FailureReason(IntEnum):
    """Failure Reason (0008,1197), the same code as the C-STORE status (PS3.18 I.2.2, PS3.4 B.2.3)."""

    SOP_CLASS_NOT_SUPPORTED = 0x0122
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122


class InvalidInstance(PermanentError):  # noqa: N818  the reader's word, an answer rather than an incident
    """An instance that cannot be accepted, with the Failure Reason to answer and its UIDs, empty where unreadable."""

    sop_class_uid = ""
    sop_instance_uid = ""

    def __init__(self, text: str, failure_reason: FailureReason = FailureReason.CANNOT_UNDERSTAND) -> None:
        super().__init__(text)
        self.failure_reason: int = int(failure_reason)


class NotDicom(InvalidInstance):
    """Bytes that are no DICOM instance at all."""


class ZipNotValid(PermanentError):  # noqa: N818  the reader's word, an answer rather than an incident
    """An archive, or one entry of it, that is damaged or above a limit."""


class SeriesNotUsable(PermanentError):  # noqa: N818  the reader's word, an answer rather than an incident
    """A series that cannot be made into a volume; the text says why in a sentence for a radiologist."""


class PixelsNotDecodable(SeriesNotUsable):
    """Pixel data that no decoder here can turn into the frames that the header promises."""


class OutputNotValid(PermanentError):  # noqa: N818  the reader's word, an answer rather than an incident
    """A machine's output that cannot be written as a derived object."""


@contextmanager
def foreign_errors_as(kind: type[PermanentError]) -> Iterator[None]:
    """Turn what pydicom raises on damaged input into `kind`; a failing disk stays an OSError.

    The foreign text is dropped, since pydicom quotes element values in it.
    """
    try:
        yield
    except PermanentError:
        raise
    except RecursionError:
        raise kind("expected fewer sequences inside one another") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise kind("expected a data set that follows PS3.5; a sequence in it is damaged") from None
    except (
        ArithmeticError,
        AttributeError,
        BytesLengthException,
        EOFError,
        LookupError,
        NotImplementedError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise kind(f"expected a data set that follows PS3.5; it cannot be read ({type(error).__name__})") from None
