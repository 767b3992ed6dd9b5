"""Which earlier result of the same patient a result is compared with, from what is known of each candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from radbus_dicom.derived.comparison import NOTHING_EARLIER, Previous
from radbus_dicom.derived.reported import date_of

from radbus_worker.domain.results import LEFT_OUT

Elements = Mapping[str, Any]

_SAME_PERSON = {"PatientBirthDate": "birth date", "PatientSex": "sex"}
_ACQUIRED = {
    "ConvolutionKernel": "reconstruction kernel",
    "SliceThickness": "slice thickness",
    "ContrastBolusAgent": "contrast agent",
    "ViewPosition": "view",
}
"""What changes a measurement without the patient having changed, and how readers call it."""
_ALIKE = (*_ACQUIRED, "SeriesDescription")
_NOT_LOOKED_FOR = "Not looked for"  # how a machine says what it never judges


@dataclass(frozen=True, slots=True)
class Current:
    """What is being judged: which study, when, by which machine, the header of its series, and what limits the result.

    `limits` are the machine's and the remarks on the images, as a recorded result has them.
    """

    study_instance_uid: str
    elements: Elements
    machine: str
    machine_version: str
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recorded result of the same patient and use case, current, usable and kept; with its series' header."""

    inference_id: str
    job_id: str
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    study_date: str
    study_time: str
    completed_at: datetime
    machines: Mapping[str, str]
    elements: Elements
    limits: tuple[str, ...] = ()


def choose(candidates: Sequence[Candidate], current: Current) -> Candidate | str:
    """Choose the latest that is really earlier and comparable, or say why there is none.

    Of several results of one study that which was acquired most alike counts, then the newest.
    """
    earlier = [each for each in candidates if _is_earlier(each, current)]
    same_person = [each for each in earlier if not _contradictions(each, current)]
    comparable = [each for each in same_person if _is_comparable(each, current)]
    if comparable:
        return max(comparable, key=lambda each: _rank(each, current))
    if same_person:
        return (
            f"Earlier results are on record, of other versions of {current.machine} whose numbers cannot be compared "
            f"with those of version {current.machine_version}."
        )
    if earlier:
        what = " and ".join(dict.fromkeys(name for each in earlier for name in _contradictions(each, current)))
        return (
            f"Nothing was compared: the earlier results under this patient's id are of a patient with another {what}."
        )
    return NOTHING_EARLIER


def previous_of(candidate: Candidate, current: Current) -> Previous:
    """Say what of the chosen one stands in reports."""
    now, then = date_of(_text(current.elements, "StudyDate")), date_of(candidate.study_date)
    return Previous(
        inference_id=candidate.inference_id,
        job_id=candidate.job_id,
        study_instance_uid=candidate.study_instance_uid,
        series_instance_uids=candidate.series_instance_uids,
        study_date=candidate.study_date.strip(),
        days_between=(now - then).days if now and then else 0,
        machine=current.machine,
        machine_version=candidate.machines[current.machine],
    )


def remarks_on(candidate: Candidate, current: Current) -> Iterator[str]:
    """Say what else may have changed the numbers: the machine's version, the acquisition, what limits one of both."""
    version = candidate.machines[current.machine]
    if version != current.machine_version:
        yield (
            f"The previous result is of version {version} of {current.machine}, this one of {current.machine_version}: "
            "a change may come from that."
        )
    for keyword, name in _ACQUIRED.items():
        then, now = _text(candidate.elements, keyword), _text(current.elements, keyword)
        if candidate.elements and then != now and not _equal_numbers(then, now):
            yield f"The {name} differs (then {then or 'none'}, now {now or 'none'}): a change may come from that."
    # Not "alone": a recorded result has the limits of all machines of its use case.
    yield from (f"A limit of the previous result: {each}" for each in _others(candidate.limits, current.limits))
    for each in _others(current.limits, candidate.limits):
        yield f"A limit of this result that the previous one has not: {each}"


def _others(limits: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return those that are not known; what no result is about is none."""
    said = [each for each in limits if not each.startswith(_NOT_LOOKED_FOR) and not each.endswith(LEFT_OUT)]
    return [each for each in said if each not in known]


def _is_earlier(candidate: Candidate, current: Current) -> bool:
    """Say whether a study was before, by its own date and time; where they do not tell, it was not."""
    if candidate.study_instance_uid == current.study_instance_uid:
        return False
    now, then = date_of(_text(current.elements, "StudyDate")), date_of(candidate.study_date)
    if now is None or then is None:
        return False
    return then < now or (then == now and _time_before(candidate.study_time, _text(current.elements, "StudyTime")))


def _time_before(then: str, now: str) -> bool:
    """Compare two TM (PS3.5 6.2) as far as both are precise."""
    then, now = then.strip().replace(":", ""), now.strip().replace(":", "")
    shared = min(len(then), len(now))
    digits = f"{then}{now}".replace(".", "")
    return bool(shared) and digits.isascii() and digits.isdecimal() and then[:shared] < now[:shared]


def _contradictions(candidate: Candidate, current: Current) -> list[str]:
    """Name what of two headers cannot be of one person: ids are given twice, or to everybody."""
    pairs = {name: (_text(candidate.elements, key), _text(current.elements, key)) for key, name in _SAME_PERSON.items()}
    return [name for name, (then, now) in pairs.items() if then and now and then != now]


def _is_comparable(candidate: Candidate, current: Current) -> bool:
    """Say whether a machine of the same name and major version made it (Semantic Versioning)."""
    then = candidate.machines.get(current.machine)
    return then is not None and then.partition(".")[0] == current.machine_version.partition(".")[0]


def _rank(candidate: Candidate, current: Current) -> tuple[str, str, int, datetime, str]:
    alike = sum(_text(candidate.elements, key) == _text(current.elements, key) for key in _ALIKE)
    return candidate.study_date, candidate.study_time, alike, candidate.completed_at, candidate.inference_id


def _equal_numbers(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _text(elements: Elements | None, keyword: str) -> str:
    value = (elements or {}).get(keyword)
    if isinstance(value, list | tuple):
        return "\\".join(map(str, value))
    return "" if value is None else str(value).strip()
