"""Make HL7 v2 of a report: one ORU^R01 (2.5.1) with an OBX for each measurement, finding and sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from hl7apy.core import Message
from hl7apy.validation import Validator
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Measurement

from radbus_dicom.derived.coding import CONTROLS, OWN_SCHEME, one_line
from radbus_dicom.derived.comparison import Comparison
from radbus_dicom.derived.provenance import MANUFACTURER
from radbus_dicom.derived.reported import (
    LOINC_DIAGNOSTIC_IMAGING,
    PRESENCE,
    PersonName,
    Reported,
    code_of,
    date_of,
    person_names,
)

VERSION: Final = "2.5.1"
_CODE_SYSTEMS: Final = {"SCT": "SCT", "LN": "LN", "DCM": "DCM", "RADLEX": "RADLEX", OWN_SCHEME: OWN_SCHEME}
_PREVIOUS_STUDY: Final = f"PREVIOUS-STUDY^Study Instance UID of the previous result^{OWN_SCHEME}"
_END: Final = "\r"
_PRELIMINARY: Final = "P"
_ESCAPES: Final = str.maketrans(
    {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", **dict.fromkeys(map(chr, CONTROLS), " ")}
)


@dataclass(frozen=True, slots=True)
class _Result:
    """The fields of an OBX that differ, each in ER7 already."""

    kind: str
    code: str
    value: str
    unit: str = ""


def make_oru_r01(reported: Reported) -> bytes:
    """Return the message in ER7 and UTF-8, its segments ended by carriage returns. The same bytes each time.

    Sending facility and receiver are left to the interface engine that passes it on.
    """
    message = Message("ORU_R01", version=VERSION)
    _head(message, reported)
    result = message.add_group("ORU_R01_PATIENT_RESULT")
    _identify(result.add_group("ORU_R01_PATIENT"), reported)
    order = result.add_group("ORU_R01_ORDER_OBSERVATION")
    _request(order, reported)
    for number, each in enumerate(_results(reported), start=1):
        _observe(order.add_group("ORU_R01_OBSERVATION"), number, each)
    Validator.validate(message)
    return bytes(f"{message.to_er7().rstrip(_END)}{_END}".encode())


def _head(message: Any, reported: Reported) -> None:
    segment = message.msh
    segment.msh_3 = MANUFACTURER
    segment.msh_7 = _moment(reported)
    segment.msh_9 = "ORU^R01^ORU_R01"
    segment.msh_10 = reported.resource_id("oru")[:20]
    segment.msh_11 = "P"
    segment.msh_18 = "UNICODE UTF-8"


def _identify(group: Any, reported: Reported) -> None:
    facts = reported.content.patient
    group.pid.pid_3 = _escaped(facts.patient_id)
    names = person_names(facts.patient_name)
    for spelled in [_xpn(name, alone=len(names) == 1) for name in names] or [""]:
        group.pid.add_field("pid_5").value = spelled
    group.pid.pid_7 = _day(facts.patient_birth_date)
    group.pid.pid_8 = facts.patient_sex if facts.patient_sex in {"M", "F", "O"} else "U"


def _xpn(name: PersonName, *, alone: bool) -> str:
    # The components come in the same order in both standards but for prefix and suffix.
    parts = [name.family, name.given, name.middle, name.suffix, name.prefix]
    representation = "" if alone and name.representation == "A" else name.representation
    return "^".join([*map(_escaped, parts), "", "", representation]).rstrip("^")


def _request(order: Any, reported: Reported) -> None:
    facts = reported.content.patient
    code, words = LOINC_DIAGNOSTIC_IMAGING
    order.obr.obr_1 = "1"
    order.obr.obr_3 = _escaped(facts.accession_number)
    order.obr.obr_4 = f"{code}^{words}^LN"
    order.obr.obr_7 = _day(facts.study_date)
    order.obr.obr_22 = _moment(reported)
    order.obr.obr_25 = _PRELIMINARY


def _results(reported: Reported) -> Iterator[_Result]:
    content = reported.content
    yield _Result("TX", "59776-5^Procedure findings^LN", _escaped(content.summary))
    for measurement in content.measurements:
        yield _measured(measurement)
    for finding in content.findings:
        value, scheme, meaning = code_of(finding)
        present, words = PRESENCE[finding.present]
        yield _Result("CWE", _coded(value, scheme, meaning), f"{present}^{words}^SCT^^^^^^{_escaped(finding.text)}")
    for comparison in content.comparisons:
        yield from _compared(comparison)
    for sentence in (*content.limits, RESEARCH_USE_ONLY):
        yield _Result("TX", "48767-8^Annotation comment^LN", _escaped(sentence))
    yield _Result("TX", "110180^Study Instance UID^DCM", reported.study_instance_uid)


def _measured(measurement: Measurement) -> _Result:
    # The name that tells apart what shares a concept, and beside it, as the alternate, the concept (2.5.1: 2.A.13, CE).
    concept = measurement.concept
    own = _coded(measurement.name, OWN_SCHEME, measurement.title)
    code = f"{own}^{_coded(concept.value, concept.scheme, concept.meaning)}"
    unit = one_line(measurement.unit)
    return _Result("NM", code, _number(measurement.value), f"{_escaped(unit)}^^UCUM" if unit else "")


def _compared(comparison: Comparison) -> Iterator[_Result]:
    """Give the comparison in words, and each change as a number."""
    yield _Result("TX", "18834-2^Radiology Comparison study (observation)^LN", _escaped(comparison.summary))
    if comparison.previous is None:
        return
    yield _Result("TX", _PREVIOUS_STUDY, comparison.previous.study_instance_uid)
    for change in comparison.changes:
        code = _coded("CHANGE", OWN_SCHEME, f"{change.title}: change since {comparison.previous.day}")
        unit = one_line(change.unit)
        yield _Result("NM", code, _number(change.absolute), f"{_escaped(unit)}^^UCUM" if unit else "")


def _number(value: float) -> str:
    """Write a number as the type NM asks: all digits that it has, and no exponent."""
    return format(Decimal(repr(float(value))), "f").removesuffix(".0")


def _observe(group: Any, number: int, result: _Result) -> None:
    segment = group.obx
    segment.obx_1, segment.obx_2, segment.obx_3 = str(number), result.kind, result.code
    segment.obx_4 = str(number)  # tells apart results that share a code
    if result.kind == "NM":
        segment.obx_6 = result.unit
    segment.obx_5 = result.value
    segment.obx_11 = _PRELIMINARY


def _moment(reported: Reported) -> str:
    return reported.content.provenance.made_at.strftime("%Y%m%d%H%M%S%z")


def _day(text: str) -> str:
    day = date_of(text)
    return "" if day is None else day.isoformat().replace("-", "")


def _coded(value: str, scheme: str, words: str) -> str:
    return f"{_escaped(one_line(value))}^{_escaped(one_line(words))}^{_system(scheme)}"


def _system(scheme: str) -> str:
    return _CODE_SYSTEMS.get(scheme, "L")


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
