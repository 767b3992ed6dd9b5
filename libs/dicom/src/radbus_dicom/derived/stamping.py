"""What every object that highdicom makes gets in the end: the same bytes each time, and the words it must carry."""

from __future__ import annotations

import re
from datetime import timedelta, timezone

from pydicom.dataset import Dataset

from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.sources import copy_patient_and_study

LONG_STRING_CHARACTERS = 64
_UTF_8 = "ISO_IR 192"
_CODE_STRING_CHARACTERS = 16
_NOTICE = " (research use only)"


def code_string(text: str) -> str:
    """Return `text` as a Code String (PS3.5 6.2) that begins with a letter, as highdicom wants it."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in text).upper()
    begun = plain if plain[:1].isalpha() else f"L_{plain}"
    return begun[:_CODE_STRING_CHARACTERS].rstrip("_")


def stamp(
    ds: Dataset,
    *,
    title: str,
    source: Dataset,
    provenance: Provenance,
) -> Dataset:
    """Copy patient and study, describe the series, and replace what highdicom takes from the clock by the job's time.

    That is written with the offset from UTC of `source`, where it has one (PS3.3 C.12.1.1.8): the offset is of all
    times of an object, those of the study too. Where it has none, no offset is claimed for times that were copied.

    Its text is written as UTF-8: a machine's words need not be in the character set of the source, and pydicom puts a
    question mark for what is not. The text of `source` is decoded already.
    """
    ds.SeriesDescription = title[: LONG_STRING_CHARACTERS - len(_NOTICE)] + _NOTICE
    ds.SpecificCharacterSet = _UTF_8
    copy_patient_and_study(source, ds)
    made_at = provenance.made_at
    if offset := _offset_of(source):
        made_at, ds.TimezoneOffsetFromUTC = made_at.astimezone(offset), source.TimezoneOffsetFromUTC
    date, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S")
    for moment in ("InstanceCreation", "Content", "Series", "PresentationCreation", "StructureSet"):
        if f"{moment}Date" in ds or moment in ("InstanceCreation", "Series"):
            setattr(ds, f"{moment}Date", date)
            setattr(ds, f"{moment}Time", time)
    for equipment in ds.get("ContributingEquipmentSequence") or []:
        if equipment.get("ManufacturerModelName") == "highdicom":
            equipment.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S%z")
    return ds


def _offset_of(source: Dataset) -> timezone | None:
    """Read TimezoneOffsetFromUTC, such as -0330; None where there is none, or not a valid one."""
    found = re.fullmatch(r"([+-])(0\d|1[0-4])([0-5]\d)", str(source.get("TimezoneOffsetFromUTC") or ""))
    if found is None:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)
