"""Copies of source headers that a derived object can be made from, whatever the source leaves out."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.config import RAISE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value
from radbus_machines.types import Frame

from radbus_dicom.errors import OutputNotValid

_PIXEL_GROUP = 0x7FE0
# Left out: highdicom copies them, and half of their modules' elements make an object invalid (PS3.3 C.7.1.3, C.7.2.3).
_TRIAL = "ClinicalTrial"
_CHECKED_VRS = frozenset({"AS", "CS", "DA", "DT", "LO", "SH", "TM"})
# Type 2 in the Patient and General Study modules: present, maybe empty (PS3.3 C.7.1.1, C.7.2.1).
_MAY_BE_EMPTY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
OF_PATIENT_AND_STUDY = (
    *_MAY_BE_EMPTY,
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "IssuerOfAccessionNumberSequence",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "PatientAge",
    "PatientIdentityRemoved",
    "StudyDescription",
    "TypeOfPatientID",
)
"""What every object says of patient and study as its source does: who it is, by whose numbers, and how old."""
LOSSY_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio")
"""What holds for whatever is derived from the pixels too (PS3.3 C.7.6.1.1.5)."""
_WANTED_IN_ITEMS = {
    "DeidentificationMethodCodeSequence": (("CodeValue", "LongCodeValue", "URNCodeValue"), ("CodeMeaning",)),
    "IssuerOfAccessionNumberSequence": (("LocalNamespaceEntityID", "UniversalEntityID"),),
    "OtherPatientIDsSequence": (("PatientID",), ("TypeOfPatientID",)),
}
"""What each item of a copied sequence needs, one of each, to be valid (PS3.3 C.2.2, 10.14, table 8.8-1)."""
_OF_EVERY_FRAME = (
    *LOSSY_COMPRESSION,
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "FrameOfReferenceUID",
    "HighBit",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesInstanceUID",
    "SliceThickness",
    "SpacingBetweenSlices",
    "StudyInstanceUID",
)


def copy_patient_and_study(source: Dataset, target: Dataset) -> None:
    """Put patient and study of `source` into `target`, whose text is UTF-8: the values that are valid, else empty."""
    kept = _copy_of(source, OF_PATIENT_AND_STUDY)
    for keyword in OF_PATIENT_AND_STUDY:
        if keyword in kept:
            target[keyword] = kept[keyword]
        elif keyword in _MAY_BE_EMPTY:
            setattr(target, keyword, "")
    _say_how_identity_was_removed(target)
    target.StudyInstanceUID = str(source.StudyInstanceUID)


def sources_for_highdicom(sources: Sequence[Dataset], frames: Sequence[Frame]) -> list[Dataset]:
    """Return copies of the source headers in the order of `frames`, one for each instance, sources left as they are.

    Where instances name different frames of reference (some anonymisers do that), all get the first one's: a SEG has
    one, and viewers find the source frames by the instances that it names.

    Raises:
        OutputNotValid: The source of a frame is absent.
    """
    by_uid = {str(source.SOPInstanceUID): source for source in sources}
    wanted = list(dict.fromkeys(frame.sop_instance_uid for frame in frames))
    if not set(wanted) <= set(by_uid):
        raise OutputNotValid("expected the header of the source instance of every frame")
    first = _whole_copy(by_uid[wanted[0]])
    others = [_copy_of(by_uid[uid], _OF_EVERY_FRAME) for uid in wanted[1:]]
    reference = first.get("FrameOfReferenceUID")
    for other in others:
        if reference:
            other.FrameOfReferenceUID = reference
        for keyword in (*OF_PATIENT_AND_STUDY, "SpecificCharacterSet", "TimezoneOffsetFromUTC"):
            if keyword in first:
                other[keyword] = first[keyword]
    return [first, *others]


def _whole_copy(source: Dataset) -> Dataset:
    # Element by element: that decodes text with the source's own character set.
    copy = Dataset()
    for element in source:
        if element.tag.group == _PIXEL_GROUP or element.tag.is_private or element.keyword.startswith(_TRIAL):
            continue
        if _is_valid(element):
            copy.add(element)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in copy:
            setattr(copy, keyword, "")
    _say_how_identity_was_removed(copy)
    return copy


def _say_how_identity_was_removed(ds: Dataset) -> None:
    """Name a method where there must be one (PS3.3 C.7.1.1), and the source has none, or none that is valid."""
    methods = (ds.get("DeidentificationMethod"), ds.get("DeidentificationMethodCodeSequence"))
    if ds.get("PatientIdentityRemoved") == "YES" and not any(methods):
        ds.DeidentificationMethod = "Not named by the source"


def _copy_of(source: Dataset, keywords: Sequence[str]) -> Dataset:
    copy = Dataset()
    for keyword in keywords:
        if keyword in source and _is_valid(source[keyword]):
            copy.add(source[keyword])
            for item in source[keyword].value if source[keyword].VR == "SQ" else ():
                list(item.iterall())  # decodes the text within
    return copy


def _is_valid(element: DataElement) -> bool:
    """Say whether a value keeps to its VR; what does not is left out, lest the derived object be invalid too."""
    if element.keyword == "PixelSpacing":
        return all(spacing > 0 for spacing in element.value or [0])
    if (wanted := _WANTED_IN_ITEMS.get(element.keyword)) is not None:
        items = element.value or []
        return bool(items) and all(any(item.get(word) for word in one_of) for item in items for one_of in wanted)
    if element.VR not in _CHECKED_VRS or element.is_empty:
        return True
    try:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, str(value), RAISE)
    except ValueError:
        return False
    return True
