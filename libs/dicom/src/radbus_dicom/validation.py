"""Decide whether a header is good enough to be stored: strictly for STOW-RS and uploads, tolerantly for InnerEye."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

from radbus_dicom.elements import JsonValue
from radbus_dicom.encoding import DataSetStream, FileMeta
from radbus_dicom.errors import FailureReason, InvalidInstance
from radbus_dicom.pixel_checks import PixelElement, refuse_cut_pixels, refuse_wrong_length

_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID_CHARACTERS = 64
_STANDARD_ROOT = "1.2.840.10008."
_FLOAT_PIXELS = frozenset({"OF", "OD"})


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was learned of an instance before judging it."""

    meta: FileMeta
    elements: dict[str, JsonValue]
    pixels: PixelElement | None
    stream: DataSetStream


def check_strictly(facts: Facts) -> tuple[dict[str, str], list[str]]:
    """Return the four identifying UIDs and warnings.

    Raises:
        InvalidInstance: A UID is absent or malformed, file meta and data set disagree, the SOP class or transfer syntax
            cannot be stored, or pixel data is cut.
    """
    warnings: list[str] = []
    identity = {keyword: _required_uid(facts.elements.get(keyword), keyword, warnings) for keyword in _IDENTITY}
    _refuse_disagreement(facts.meta, identity)
    _check_transfer_syntax(facts.meta.transfer_syntax_uid)
    _check_sop_class(identity["SOPClassUID"], warnings)
    _refuse_image_without_pixels(facts, identity["SOPClassUID"])
    if facts.pixels is not None:
        refuse_cut_pixels(facts.pixels, facts.stream)
        if facts.pixels.vr not in _FLOAT_PIXELS:
            refuse_wrong_length(facts.pixels, facts.elements)
    _warn_of_oddities(facts, identity, warnings)
    return identity, warnings


def check_tolerantly(facts: Facts) -> tuple[dict[str, str], list[str]]:
    """Return the four identifying UIDs and warnings, taking the SOP UIDs from the file meta where need be.

    Raises:
        InvalidInstance: A UID is absent or malformed, or pixel data is cut.
    """
    warnings: list[str] = []
    fallback = {"SOPClassUID": facts.meta.sop_class_uid, "SOPInstanceUID": facts.meta.sop_instance_uid}
    identity = {
        keyword: _required_uid(facts.elements.get(keyword) or fallback.get(keyword), keyword, warnings)
        for keyword in _IDENTITY
    }
    _refuse_image_without_pixels(facts, identity["SOPClassUID"])
    if facts.pixels is not None:
        refuse_cut_pixels(facts.pixels, facts.stream)
    for check, uid in (
        (_check_transfer_syntax, facts.meta.transfer_syntax_uid),
        (_known_sop_class, identity["SOPClassUID"]),
    ):
        try:
            check(uid)
        except InvalidInstance as error:
            warnings.append(str(error))
    _warn_of_oddities(facts, identity, warnings)
    return identity, warnings


def uid_or_empty(value: JsonValue | None) -> str:
    """Return a UID as it is, and nothing for what is none."""
    return value if isinstance(value, str) and len(value) <= _MAX_UID_CHARACTERS and _UID.fullmatch(value) else ""


def _required_uid(value: JsonValue | None, keyword: str, warnings: list[str]) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInstance(f"expected one {keyword}; it is absent, empty or has several values")
    if len(value) > _MAX_UID_CHARACTERS or not _UID.fullmatch(value):
        raise InvalidInstance(f"expected {keyword} to be digits and dots, 64 characters at most (PS3.5 9.1)")
    components = value.split(".")
    if any(len(component) > 1 and component[0] == "0" for component in components):
        warnings.append(f"a component of {keyword} begins with 0 (PS3.5 9.1)")
    if len(components) == 1:
        warnings.append(f"{keyword} has no dot, so no root that anybody registered")
    return value


def _refuse_disagreement(meta: FileMeta, identity: dict[str, str]) -> None:
    pairs = (("SOPClassUID", meta.sop_class_uid), ("SOPInstanceUID", meta.sop_instance_uid))
    for keyword, in_meta in pairs:
        if in_meta and in_meta != identity[keyword]:
            raise InvalidInstance(
                f"expected the file meta information to name the {keyword} of the data set; they differ",
                FailureReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
            )


def _check_transfer_syntax(uid: str) -> None:
    entry = UID_dictionary.get(uid)
    if entry is None or entry[1] != "Transfer Syntax":
        raise InvalidInstance(
            "expected a transfer syntax that PS3.6 registers", FailureReason.TRANSFER_SYNTAX_NOT_SUPPORTED
        )


def _check_sop_class(uid: str, warnings: list[str]) -> None:
    if UID_dictionary.get(uid) is None:
        kind = "of the standard, but newer than this software knows" if uid.startswith(_STANDARD_ROOT) else "private"
        warnings.append(f"the SOP class {uid} is {kind}")
        return
    _known_sop_class(uid)


def _known_sop_class(uid: str) -> None:
    entry = UID_dictionary.get(uid)
    if entry is None:
        return
    is_storage = (
        entry[1] == "SOP Class" and "Storage" in entry[0] and not entry[0].startswith("Media Storage Directory")
    )
    if not is_storage:
        raise InvalidInstance(
            f"expected the SOP class of a stored object; {uid} is none", FailureReason.SOP_CLASS_NOT_SUPPORTED
        )


def _refuse_image_without_pixels(facts: Facts, sop_class_uid: str) -> None:
    # A file that was cut between two elements looks whole but for this; JPIP instances have their pixels elsewhere.
    is_image = "Image Storage" in UID_dictionary.get(sop_class_uid, ("",))[0] and "Rows" in facts.elements
    if is_image and facts.pixels is None and "PixelDataProviderURL" not in facts.elements:
        raise InvalidInstance(
            "expected pixel data in an instance of an image SOP class",
            FailureReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
        )


def _warn_of_oddities(facts: Facts, identity: dict[str, str], warnings: list[str]) -> None:
    if not facts.elements.get("Modality"):
        warnings.append("Modality is absent")
    if not facts.meta.sop_instance_uid:
        warnings.append("MediaStorageSOPInstanceUID is absent")
    if len(set(identity.values())) < len(identity):
        warnings.append("the study, the series and the instance do not have UIDs of their own")
