"""What the formats of other systems (FHIR, HL7 v2) are told of a result: the report's content and its study."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

from radbus_machines.types import Finding

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
    """Return code, scheme and meaning of a finding; our own where the machine gave none."""
    if finding.code is None:
        return finding.name, "99RADBUS", finding.name
    return finding.code.value, finding.code.scheme, finding.code.meaning
