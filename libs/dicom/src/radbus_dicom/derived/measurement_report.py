"""Make a DICOM SR from a machine's output: TID 1500 Measurement Report (PS3.16), encoded as IHE AIR asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode
from radbus_machines.types import Finding, Frame, LabelMap, MachineOutput, Measurement, Segment, Site

from radbus_dicom.derived.coding import OWN_SCHEME, algorithm_parameters, coded, one_line, unit
from radbus_dicom.derived.comparison import Comparison, Previous
from radbus_dicom.derived.image_library import make_image_library
from radbus_dicom.derived.provenance import MANUFACTURER, Provenance
from radbus_dicom.derived.report_sentences import evaluated, sentences
from radbus_dicom.derived.sites import site_of, site_of_segment
from radbus_dicom.derived.sources import sources_for_highdicom
from radbus_dicom.derived.stamping import stamp
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.quiet import silence_pydicom

silence_pydicom()

SERIES_NUMBER: Final = 9200
_RADIOGRAPHY: Final = PydicomCode("168537006", "SCT", "Plain radiography")
_PROCEDURES: Final = {
    "CT": PydicomCode("77477000", "SCT", "Computed tomography"),
    "MR": PydicomCode("113091000", "SCT", "Magnetic resonance imaging"),
    "PT": PydicomCode("82918005", "SCT", "Positron emission tomography"),
    "US": PydicomCode("16310003", "SCT", "Ultrasonography"),
    "MG": PydicomCode("71651007", "SCT", "Mammography"),
    "XA": PydicomCode("77343006", "SCT", "Angiography"),
    "CR": _RADIOGRAPHY,
    "DX": _RADIOGRAPHY,
}
_IMAGING: Final = PydicomCode("363679005", "SCT", "Imaging")
_CHANGE: Final = PydicomCode("CHANGE", OWN_SCHEME, "Difference from the previous result")
_CHANGE_RELATIVE: Final = PydicomCode("CHANGE-RELATIVE", OWN_SCHEME, "Difference in percent of the previous result")
_CURRENT_STUDY: Final = PydicomCode("CURRENT-STUDY", OWN_SCHEME, "Current study")
_DAY: Final = PydicomCode("d", "UCUM", "day")


@dataclass(frozen=True, slots=True)
class SegmentationReference:
    """A SEG that was made of the same output, by which measurements name what they measure."""

    label_map: LabelMap
    segmentation: Dataset

    def number_of(self, segment: int) -> int | None:
        """Return the segment's number within the SEG, or None where the label map has no such segment."""
        numbers = sorted(each.number for each in self.label_map.segments)
        return numbers.index(segment) + 1 if segment in numbers else None


def make_measurement_report(
    output: MachineOutput,
    *,
    sources: Sequence[Dataset],
    frames: Sequence[Frame],
    segmentations: Sequence[SegmentationReference],
    provenance: Provenance,
    comparison: Comparison | None = None,
) -> Dataset | None:
    """Return the report: each measurement under the segment it measures, each finding present, absent or indeterminate.

    None where nothing was measured or found: the template asks for something.

    `sources` are the headers of the source instances, in any order; `frames` are the volume's.

    Raises:
        OutputNotValid: The source of a frame is absent.
    """
    if not sources:
        raise OutputNotValid("expected the headers of the source instances")
    evidence = sources_for_highdicom(sources, frames)
    write = _Writer(evidence[0], segmentations, provenance)
    groups = [*write.groups(output)]
    if not groups:
        return None
    if comparison is not None:
        groups += write.compared(comparison, output.measurements)
    report = hd.sr.MeasurementReport(
        observation_context=write.context(),
        procedure_reported=_PROCEDURES.get(str(evidence[0].get("Modality")), _IMAGING),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    root = report[0]
    root.ContentSequence.insert(len(root.ContentSequence) - 1, make_image_library(evidence))  # before the measurements
    root.ContentSequence.extend(sentences(output, comparison))
    sr = hd.sr.Comprehensive3DSR(
        evidence=[*evidence, *(each.segmentation for each in segmentations)],
        content=root,
        series_instance_uid=series_uid(provenance.job_id, f"sr/{provenance.of_series(evidence[0].SeriesInstanceUID)}"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(provenance.job_id, f"sr/{provenance.of_series(evidence[0].SeriesInstanceUID)}"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        specific_character_set=None,
    )
    sr.ManufacturerModelName, sr.SoftwareVersions = provenance.machine, provenance.machine_version
    return stamp(sr, title=f"{provenance.use_case} measurements", source=evidence[0], provenance=provenance)


class _Writer:
    """Makes the parts of one report, with UIDs that are the same each time."""

    def __init__(self, source: Dataset, segmentations: Sequence[SegmentationReference], provenance: Provenance) -> None:
        self._source = source
        self._segmentations = segmentations
        self._provenance = provenance
        self._algorithm = hd.sr.AlgorithmIdentification(
            provenance.machine,
            provenance.machine_version,
            parameters=[f"{name}={value}" for name, value in algorithm_parameters(provenance).items()],
            manufacturer=MANUFACTURER,
        )

    def context(self) -> hd.sr.ObservationContext:
        device = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid(self._provenance.machine, self._provenance.machine_version),
            name=self._provenance.machine,
            manufacturer_name=MANUFACTURER,
            model_name=f"{self._provenance.machine} {self._provenance.machine_version}",
        )
        observer = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
        return hd.sr.ObservationContext(observer_device_context=observer)

    def groups(
        self, output: MachineOutput
    ) -> Iterator[
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations | hd.sr.MeasurementsAndQualitativeEvaluations
    ]:
        placed: dict[int, tuple[SegmentationReference, Segment, int]] = {}
        for measurement in output.measurements:
            number = measurement.segment
            if number is not None and number not in placed and (found := self._place(number)):
                placed[number] = found
        for number, (reference, segment, in_seg) in placed.items():
            of_segment = [each for each in output.measurements if each.segment == number]
            yield self._of_segment(reference, segment, in_seg, of_segment)
        others = [each for each in output.measurements if each.segment is None or each.segment not in placed]
        for index, measurement in enumerate(others, start=1):
            yield self._of_images(
                f"images/{index}",
                one_line(measurement.title or measurement.name),
                measurements=[measurement],
                site=measurement.site,
            )
        if output.findings:
            yield self._of_images("findings", "Findings", findings=output.findings)

    def compared(
        self, comparison: Comparison, measurements: Sequence[Measurement]
    ) -> Iterator[hd.sr.MeasurementsAndQualitativeEvaluations]:
        """Give each earlier value at its own time point (TID 1502), and the change by a concept of its own.

        Under the measurement's own concept a viewer that shows concept and value alone would show a change as a volume.
        """
        if comparison.previous is None:
            return
        before = comparison.previous
        offset = hd.sr.LongitudinalTemporalOffsetFromEvent(-before.days_between, _DAY, _CURRENT_STUDY)
        then = hd.sr.TimePointContext(before.day, temporal_offset_from_event=offset)
        segments = [segment for each in self._segmentations for segment in each.label_map.segments]
        sites = {comparison.change_of(each): site_of(each, segments) for each in measurements}
        for index, change in enumerate(comparison.changes, start=1):
            title, site = one_line(change.title), sites.get(change)
            previous = hd.sr.Measurement(coded(change.concept), change.previous, unit(change.unit))
            yield hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=self._tracking(f"previous/{index}", f"{title}, {before.day}"),
                time_point_context=then,
                algorithm_id=_algorithm_of(before),
                finding_sites=_sites(site),
                measurements=[previous],
            )
            changed = [hd.sr.Measurement(_CHANGE, change.absolute, unit(change.unit))]
            if change.percent is not None:
                changed.append(hd.sr.Measurement(_CHANGE_RELATIVE, change.percent, unit("%")))
            yield hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=self._tracking(f"change/{index}", f"{title}, change since {before.day}"),
                algorithm_id=self._algorithm,
                finding_sites=_sites(site),
                measurements=changed,
            )

    def _place(self, number: int) -> tuple[SegmentationReference, Segment, int] | None:
        for reference in self._segmentations:
            in_seg = reference.number_of(number)
            if in_seg is not None:
                segment = next(each for each in reference.label_map.segments if each.number == number)
                return reference, segment, in_seg
        return None

    def _of_segment(
        self, reference: SegmentationReference, segment: Segment, in_seg: int, measurements: Sequence[Measurement]
    ) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
        seg = reference.segmentation
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking(f"{reference.label_map.name}/{segment.number}", segment.name),
            referenced_segment=hd.sr.ReferencedSegment(
                sop_class_uid=seg.SOPClassUID,
                sop_instance_uid=seg.SOPInstanceUID,
                segment_number=in_seg,
                source_series=hd.sr.SourceSeriesForSegmentation(self._source.SeriesInstanceUID),
            ),
            finding_type=coded(segment.kind),
            algorithm_id=self._algorithm,
            finding_sites=_sites(site_of_segment(segment)),
            measurements=[_measured(each) for each in measurements],
        )

    def _of_images(
        self,
        name: str,
        words: str,
        *,
        measurements: Sequence[Measurement] = (),
        findings: Sequence[Finding] = (),
        site: Site | None = None,
    ) -> hd.sr.MeasurementsAndQualitativeEvaluations:
        """Make a group about the images: its words tell apart measurements that share a code (TID 1501)."""
        return hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking(name, words),
            algorithm_id=self._algorithm,
            finding_sites=_sites(site),
            measurements=[_measured(each) for each in measurements] or None,
            qualitative_evaluations=[evaluated(each) for each in findings] or None,
        )

    def _tracking(self, name: str, words: str) -> hd.sr.TrackingIdentifier:
        of_series = self._provenance.of_series(self._source.SeriesInstanceUID)
        return hd.sr.TrackingIdentifier(
            uid=derived_uid(self._provenance.job_id, f"sr/{of_series}/{name}"), identifier=words
        )


def _algorithm_of(previous: Previous) -> hd.sr.AlgorithmIdentification:
    parameters = [f"job={previous.job_id}"]
    return hd.sr.AlgorithmIdentification(
        previous.machine, previous.machine_version, parameters=parameters, manufacturer=MANUFACTURER
    )


def _sites(site: Site | None) -> list[hd.sr.FindingSite] | None:
    if site is None:
        return None
    return [hd.sr.FindingSite(coded(site.part), laterality=coded(site.laterality) if site.laterality else None)]


def _measured(measurement: Measurement) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=coded(measurement.concept), value=float(measurement.value), unit=unit(measurement.unit)
    )
