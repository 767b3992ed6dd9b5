"""What the formats of other systems (FHIR, HL7 v2) are told of a result: the report's content and its study."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID, uuid5

from radbus_machines.types import Finding

from radbus_dicom.derived.coding import OWN_SCHEME, one_line
from radbus_dicom.derived.report_pdf import ReportContent

_NAMESPACE = UUID("0f1a0f0e-8f5e-5d0b-9b39-7c27a0a5b6d4")  # ours, drawn once
LOINC_DIAGNOSTIC_IMAGING = ("18748-4", "Diagnostic imaging study")
PRESENCE = {
    True: ("52101004", "Present"),
    False: ("272519000", "Absent"),
    None: ("82334004", "Indeterminate"),
}
"""What a finding can be, as SNOMED CT codes and their meanings."""


@dataclass(frozen=True, slots=True)
class PersonName:
    """One spelling of a name: `representation` is A(lphabetic), I(deographic) or P(honetic), as in HL7 table 0465."""

    representation: str
    family: str
    given: str
    middle: str
    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """A series that was judged."""

    series_instance_uid: str
    modality: str
    instance_count: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A report's content, with the study and series it is about."""

    content: ReportContent
    study_instance_uid: str
    series: tuple[SeriesFacts, ...]

    def resource_id(self, kind: str) -> str:
        """Make an id that is the same each time for a part of this job's report."""
        return str(uuid5(_NAMESPACE, f"{self.content.provenance.job_id}/{kind}"))


def code_of(finding: Finding) -> tuple[str, str, str]:
    """Return code, scheme and meaning of a finding, in one line each; our own where the machine gave none."""
    if finding.code is None:
        name = one_line(finding.name)
        return name, OWN_SCHEME, name
    return one_line(finding.code.value), one_line(finding.code.scheme), one_line(finding.code.meaning)


def person_names(text: str) -> list[PersonName]:
    """Return the spellings of a PN (PS3.5 6.2.1) that are there; the alphabetic one may be absent."""
    names = []
    for representation, group in zip("AIP", text.split("="), strict=False):
        parts = [one_line(part) for part in group.split("^")]
        if any(parts):
            names.append(PersonName(representation, *[*parts, "", "", "", ""][:5]))
    return names


def date_of(text: str) -> date | None:
    """Read a DA (PS3.5 6.2); None where it is no day of the calendar, such as 19700000 of an anonymised header."""
    text = text.strip()
    if len(text) != len("YYYYMMDD") or not (text.isascii() and text.isdecimal()):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a day has no time zone
    except ValueError:
        return None
