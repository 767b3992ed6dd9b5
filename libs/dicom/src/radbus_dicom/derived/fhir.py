"""Make FHIR of a report: a Bundle (R4B) of Patient, ImagingStudy, Device, Observations and DiagnosticReport."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhir.resources.R4B.bundle import Bundle
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Finding, Measurement, Site

from radbus_dicom.derived.coding import OWN_SCHEME, one_line
from radbus_dicom.derived.comparison import Change, Previous, days
from radbus_dicom.derived.fhir_types import (
    NOT_STATED,
    SYSTEMS,
    Resource,
    body_site,
    coding,
    concept_of,
    fhir_date,
    quantity,
    system_of,
    without_nothing,
)
from radbus_dicom.derived.provenance import MANUFACTURER
from radbus_dicom.derived.reported import (
    LOINC_DIAGNOSTIC_IMAGING,
    PRESENCE,
    PersonName,
    Reported,
    code_of,
    person_names,
)

_REPRESENTATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_UID_SYSTEM: Final = "urn:dicom:uid"
_GENDERS: Final = {"M": "male", "F": "female", "O": "other"}
_RADIOLOGY: Final = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}
_IMAGING: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
    "code": "imaging",
    "display": "Imaging",
}


def make_fhir_bundle(reported: Reported, *, pdf: bytes | None = None) -> bytes:
    """Return the Bundle as JSON; `pdf` goes into the report as its presented form. The same bytes each time."""
    observations = [*_observations(reported), *_changes(reported)]
    resources = [_patient(reported), _study(reported), *_earlier_studies(reported), _device(reported), *observations]
    resources.append(_report(reported, observations, pdf))
    bundle = {
        "resourceType": "Bundle",
        "id": reported.resource_id("bundle"),
        "type": "collection",
        "timestamp": reported.content.provenance.made_at.isoformat(),
        "entry": [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources],
    }
    # Read by the library's model, which refuses what is not FHIR.
    return bytes(Bundle.model_validate(bundle).model_dump_json(exclude_none=True).encode())


def _patient(reported: Reported) -> Resource:
    facts = reported.content.patient
    born = facts.patient_birth_date
    return without_nothing(
        {
            "resourceType": "Patient",
            "id": reported.resource_id("patient"),
            "identifier": [{"value": facts.patient_id}] if facts.patient_id.strip() else None,
            "name": [_human_name(each) for each in person_names(facts.patient_name)] or None,
            "gender": _GENDERS.get(facts.patient_sex),
            "birthDate": fhir_date(born),
        }
    )


def _human_name(name: PersonName) -> Resource:
    extension = None
    if name.representation != "A":
        extension = [{"url": _REPRESENTATION, "valueCode": {"I": "IDE", "P": "SYL"}[name.representation]}]
    return without_nothing(
        {
            "extension": extension,
            "family": name.family or None,
            "given": [each for each in (name.given, name.middle) if each] or None,
            "prefix": [name.prefix] if name.prefix else None,
            "suffix": [name.suffix] if name.suffix else None,
        }
    )


def _study(reported: Reported) -> Resource:
    facts = reported.content.patient
    accession = {"type": concept_of("ACSN", "http://terminology.hl7.org/CodeSystem/v2-0203", "Accession ID")}
    identifiers: list[Mapping[str, Any]] = [{"system": _UID_SYSTEM, "value": f"urn:oid:{reported.study_instance_uid}"}]
    if facts.accession_number.strip():
        identifiers.append({**accession, "value": facts.accession_number})
    return without_nothing(
        {
            "resourceType": "ImagingStudy",
            "id": reported.resource_id("study"),
            "identifier": identifiers,
            "status": "available",
            "subject": _reference(reported, "patient"),
            "started": fhir_date(facts.study_date),
            "description": facts.study_description.strip() or None,
            "numberOfSeries": len(reported.series),
            "series": [
                {
                    "uid": each.series_instance_uid,
                    "modality": coding(each.modality, SYSTEMS["DCM"]),
                    "numberOfInstances": each.instance_count,
                }
                for each in reported.series
            ],
        }
    )


def _device(reported: Reported) -> Resource:
    provenance = reported.content.provenance
    notes = [RESEARCH_USE_ONLY, *(f"Also used: {each}" for each in reported.content.further_machines)]
    return {
        "resourceType": "Device",
        "id": reported.resource_id("device"),
        "manufacturer": MANUFACTURER,
        "deviceName": [{"name": provenance.machine, "type": "model-name"}],
        "version": [{"value": provenance.machine_version}],
        "note": [{"text": note} for note in notes],
    }


def _observations(reported: Reported) -> Iterator[Resource]:
    # Two machines of one report may use one name: the number makes the ids unique.
    for number, measurement in enumerate(reported.content.measurements, start=1):
        yield {**_observed(reported, f"measurement/{number}/{measurement.name}"), **_measured(measurement)}
    for number, finding in enumerate(reported.content.findings, start=1):
        yield {**_observed(reported, f"finding/{number}/{finding.name}"), **_found(finding)}


def _observed(reported: Reported, name: str) -> Resource:
    return {
        "resourceType": "Observation",
        "id": reported.resource_id(name),
        "status": "preliminary",
        "category": [{"coding": [_IMAGING]}],
        "subject": _reference(reported, "patient"),
        "derivedFrom": [_reference(reported, "study")],
        "device": _reference(reported, "device"),
        **_effective(reported),
        "issued": reported.content.provenance.made_at.isoformat(),
    }


def _effective(reported: Reported) -> Resource:
    """Say of which day it is: the study's time is in a zone that nobody names."""
    return without_nothing({"effectiveDateTime": fhir_date(reported.content.patient.study_date)})


def _measured(measurement: Measurement) -> Resource:
    concept = measurement.concept
    title = one_line(measurement.title or measurement.name) or NOT_STATED
    return {
        **_at(measurement.site),
        "code": {**concept_of(concept.value, system_of(concept.scheme), concept.meaning), "text": title},
        "valueQuantity": quantity(measurement.value, measurement.unit),
        "note": [{"text": f"{measurement.definition} {RESEARCH_USE_ONLY}"}],
    }


def _at(site: Site | None) -> Resource:
    return {} if site is None else {"bodySite": body_site(site)}


def _found(finding: Finding) -> Resource:
    value, scheme, meaning = code_of(finding)
    code, words = PRESENCE[finding.present]
    return {
        "code": concept_of(value, system_of(scheme), meaning),
        "valueCodeableConcept": concept_of(code, SYSTEMS["SCT"], words),
        "note": [{"text": f"{finding.text} {RESEARCH_USE_ONLY}"}],
    }


def _earlier_studies(reported: Reported) -> Iterator[Resource]:
    """Give the studies of the previous results, by their UID and date."""
    for each in _previous(reported):
        yield without_nothing(
            {
                "resourceType": "ImagingStudy",
                "id": reported.resource_id(f"study/{each.study_instance_uid}"),
                "identifier": [{"system": _UID_SYSTEM, "value": f"urn:oid:{each.study_instance_uid}"}],
                "status": "available",
                "subject": _reference(reported, "patient"),
                "started": fhir_date(each.study_date),
                "description": "Compared with",
            }
        )


def _previous(reported: Reported) -> list[Previous]:
    by_study = {
        each.previous.study_instance_uid: each.previous for each in reported.content.comparisons if each.previous
    }
    return list(by_study.values())


def _changes(reported: Reported) -> Iterator[Resource]:
    """Give the change of each compared measurement, with what it was then, and of both studies."""
    for place, comparison in enumerate(reported.content.comparisons, start=1):
        previous = comparison.previous
        if previous is None:
            continue
        then = _reference(reported, f"study/{previous.study_instance_uid}")
        sites = {comparison.change_of(each): each.site for each in reported.content.measurements}
        for count, change in enumerate(comparison.changes, start=1):
            observed = _observed(reported, f"change/{place}/{count}/{change.name}")
            title = one_line(change.title or change.name) or NOT_STATED
            yield {
                **observed,
                **_at(sites.get(change)),
                "derivedFrom": [*observed["derivedFrom"], then],
                "code": {
                    "coding": [
                        coding("CHANGE-SINCE-PREVIOUS", system_of(OWN_SCHEME), "Change since the previous result")
                    ],
                    "text": f"{title}: change since {previous.day}",
                },
                "valueQuantity": quantity(change.absolute, change.unit),
                "component": [*_components(change, previous)],
                "note": [{"text": f"{change.words} in {days(previous.days_between)}. {RESEARCH_USE_ONLY}"}],
            }


def _components(change: Change, previous: Previous) -> Iterator[Resource]:
    concept = coding(change.concept.value, system_of(change.concept.scheme), change.concept.meaning)
    yield {
        "code": {"coding": [concept], "text": f"Previous value, {previous.day}"},
        "valueQuantity": quantity(change.previous, change.unit),
    }
    if change.percent is not None:
        yield {"code": {"text": "Change in percent"}, "valueQuantity": quantity(change.percent, "%")}
    yield {"code": {"text": "Days between"}, "valueQuantity": quantity(previous.days_between, "d")}


def _report(reported: Reported, observations: list[Resource], pdf: bytes | None) -> Resource:
    content = reported.content
    code, words = LOINC_DIAGNOSTIC_IMAGING
    form, compared = None, [each.summary for each in content.comparisons]
    if pdf is not None:
        data = base64.b64encode(pdf).decode()
        form = [{"contentType": "application/pdf", "data": data, "title": content.title}]
    return without_nothing(
        {
            "resourceType": "DiagnosticReport",
            "id": reported.resource_id("report"),
            "status": "preliminary",
            "category": [{"coding": [_RADIOLOGY]}],
            "code": {**concept_of(code, SYSTEMS["LN"], words), "text": content.title},
            "subject": _reference(reported, "patient"),
            **_effective(reported),
            "issued": content.provenance.made_at.isoformat(),
            "result": [{"reference": f"urn:uuid:{each['id']}"} for each in observations] or None,
            "imagingStudy": [_reference(reported, "study")],
            "conclusion": " ".join((RESEARCH_USE_ONLY, content.summary, *compared, *content.limits)).strip(),
            "presentedForm": form,
        }
    )


def _reference(reported: Reported, kind: str) -> Resource:
    return {"reference": f"urn:uuid:{reported.resource_id(kind)}"}
