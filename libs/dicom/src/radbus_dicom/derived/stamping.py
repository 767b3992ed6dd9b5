"""What every object that highdicom makes gets in the end: the same bytes each time, and the words it must carry."""

from __future__ import annotations

from pydicom.dataset import Dataset

from radbus_dicom.derived.provenance import Provenance

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
    source: Dataset,  # noqa: ARG001 - callers still give it; nothing is taken from it any more
    provenance: Provenance,
) -> Dataset:
    """Describe the series, and replace what highdicom takes from the clock by the job's own time.

    Its text is written as UTF-8: a machine's words need not be in the character set of the source, and pydicom puts a
    question mark for what is not. The text of `source` is decoded already.
    """
    ds.SeriesDescription = title[: LONG_STRING_CHARACTERS - len(_NOTICE)] + _NOTICE
    ds.SpecificCharacterSet = _UTF_8
    date, time = provenance.made_at.strftime("%Y%m%d"), provenance.made_at.strftime("%H%M%S")
    for moment in ("InstanceCreation", "Content", "Series", "PresentationCreation"):
        if f"{moment}Date" in ds or moment in ("InstanceCreation", "Series"):
            setattr(ds, f"{moment}Date", date)
            setattr(ds, f"{moment}Time", time)
    for equipment in ds.get("ContributingEquipmentSequence") or []:
        if equipment.get("ManufacturerModelName") == "highdicom":
            equipment.ContributionDateTime = date + time
    return ds
