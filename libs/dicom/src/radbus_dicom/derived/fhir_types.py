"""The data types of FHIR (R4B) that its resources share: codes, quantities, dates, sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from radbus_machines.types import Site

from radbus_dicom.derived.coding import one_line
from radbus_dicom.derived.reported import date_of

Resource = Mapping[str, Any]

SYSTEMS: Final = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "RADLEX": "http://radlex.org",
    "UCUM": "http://unitsofmeasure.org",
}
_LATERALITY: Final = "272741003"  # SNOMED CT
NOT_STATED: Final = "not stated"


def concept_of(code: str, system: str, display: str) -> Resource:
    """Make a CodeableConcept of one code."""
    return {"coding": [coding(code, system, display)]}


def coding(code: str, system: str, display: str = "") -> Resource:
    """Make a Coding of what is there: FHIR has no empty codes, and no two spaces in them."""
    code, display = one_line(code), one_line(display)
    if not code:
        return {"display": display or NOT_STATED}
    return without_nothing({"system": system, "code": code, "display": display or None})


def system_of(scheme: str) -> str:
    """Return the URI of a DICOM coding scheme."""
    return SYSTEMS.get(scheme, f"urn:radbus:coding-scheme:{scheme}")


def fhir_date(text: str) -> str | None:
    """Return a DA as a date; None where it is no day."""
    day = date_of(text)
    return None if day is None else day.isoformat()


def without_nothing(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None: FHIR has no null."""
    return {name: value for name, value in fields.items() if value is not None}


def quantity(value: float, ucum: str) -> Resource:
    """Make a Quantity; without a unit it is a bare number."""
    unit = one_line(ucum)
    return {"value": value, **({"unit": unit, "system": SYSTEMS["UCUM"], "code": unit} if unit else {})}


def body_site(site: Site) -> Resource:
    """Give the part of the body and, where there is a side, both as one SNOMED CT expression too."""
    part, side = site.part, site.laterality
    plain = coding(part.value, system_of(part.scheme), part.meaning)
    if side is None:
        return {"coding": [plain], "text": one_line(part.meaning)}
    words = f"{one_line(part.meaning)}, {one_line(side.meaning).lower()}"
    if {part.scheme, side.scheme} != {"SCT"}:
        return {"coding": [plain], "text": words}
    expression = f"{part.value}:{_LATERALITY}={side.value}"
    return {"coding": [coding(expression, SYSTEMS["SCT"], words), plain], "text": words}
