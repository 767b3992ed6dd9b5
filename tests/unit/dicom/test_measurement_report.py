"""The SR says what the machine measured, names the segment it measured, is valid, and is the same when made again."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_dicom.derived.measurement_report import SegmentationReference, make_measurement_report
from radbus_dicom.derived.segmentation import make_segmentation
from radbus_dicom.opening import read_header_dataset
from radbus_machines.types import Code, Finding, MachineOutput, Measurement, Site

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

VOLUME = Code("118565006", "SCT", "Volume")
ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
MORPHOLOGY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
EMPHYSEMA = Code("87433001", "SCT", "Pulmonary emphysema")
BOTH_LUNGS = Site(Code("39607008", "SCT", "Lung"), Code("51440002", "SCT", "Right and left"))
IN_THE_HEAD = Site(Code("1101003", "SCT", "Intracranial"), Code("7771000", "SCT", "Left"))
MEASUREMENTS = (
    Measurement("right_ml", "Right lung: volume", 1234.5, "mL", VOLUME, "counted", segment=1),
    Measurement("total_ml", "Both lungs: volume", 2345.6, "mL", VOLUME, "counted", site=BOTH_LUNGS),
    Measurement("chest_ml", "Chest: volume", 3456.7, "", VOLUME, "counted"),
)
FINDINGS = (
    Finding("emphysema", True, "There is some.", EMPHYSEMA),
    Finding("nodule", None, "Not judged."),
)


@pytest.fixture
def made(write_series, load_volume, label_map, provenance):
    def make(*, labelled=True, category=ANATOMY, site=None, **changes):
        paths = write_series([(0, 0, z) for z in range(4)], **changes)
        volume = load_volume(paths)
        labels = np.zeros(volume.voxels.shape, np.uint8)
        labels[1:3, 3:6, 3:6] = 1 if labelled else 0
        labelled_map = label_map(labels)
        segments = tuple(replace(segment, category=category, site=site) for segment in labelled_map.segments)
        output = MachineOutput(
            "Some emphysema.",
            label_maps=(replace(labelled_map, segments=segments),),
            measurements=MEASUREMENTS,
            findings=FINDINGS,
            limits=("Thick slices.",),
        )
        sources = [read_header_dataset(path) for path in paths]
        shared = {"sources": sources, "frames": volume.frames, "provenance": provenance}
        segs = [(each, make_segmentation(each, **shared)) for each in output.label_maps]
        references = [SegmentationReference(each, seg) for each, seg in segs if seg is not None]
        return make_measurement_report(output, segmentations=references, **shared), references

    return make


def as_bytes(ds) -> bytes:
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def groups_of(sr):
    return hd.sr.srread(BytesIO(as_bytes(sr))).content


def values(group) -> list[tuple[str, float, str]]:
    return [(m.name.meaning, float(m.value), m.unit.value) for m in group.get_measurements()]


def test_a_measurement_of_a_segment_names_it_in_the_segmentation(made):
    sr, (reference,) = made()

    (group,) = groups_of(sr).get_volumetric_roi_measurement_groups()

    assert values(group) == [("Volume", 1234.5, "mL")]
    segment = group.referenced_segment
    assert segment.referenced_sop_instance_uid == reference.segmentation.SOPInstanceUID
    assert segment.referenced_segment_numbers == [1]


def sites_of(group) -> list[tuple[str, str | None]]:
    return [(site.value.meaning, site.laterality and site.laterality.meaning) for site in group.finding_sites]


@pytest.mark.parametrize(
    ("category", "site", "sites"),
    [
        (ANATOMY, None, [("Lung", "Left")]),
        (MORPHOLOGY, None, []),
        (MORPHOLOGY, IN_THE_HEAD, [("Intracranial", "Left")]),
    ],
)
def test_an_anatomical_structure_is_the_site_of_a_finding_and_a_lesion_has_one(made, category, site, sites):
    sr, (reference,) = made(category=category, site=site)

    (group,) = groups_of(sr).get_volumetric_roi_measurement_groups()

    assert sites_of(group) == sites
    assert group.finding_type.meaning == "Lung"
    (segment, *_) = reference.segmentation.SegmentSequence
    regions = [
        (region.CodeMeaning, region.AnatomicRegionModifierSequence[0].CodeMeaning)
        for region in segment.get("AnatomicRegionSequence", ())
    ]
    assert regions == (sites if site else [])


@pytest.mark.parametrize(
    ("modality", "procedure"),
    [
        ("CT", "Computed tomography"),
        ("PT", "Positron emission tomography"),
        ("NM", "Imaging"),
    ],
)
def test_the_procedure_is_what_the_modality_does(made, modality, procedure):
    sr, _ = made(Modality=modality)

    names = [item.ConceptNameCodeSequence[0].CodeMeaning for item in sr.ContentSequence]
    reported = sr.ContentSequence[names.index("Procedure reported")]

    assert reported.ConceptCodeSequence[0].CodeMeaning == procedure


def library_of(sr) -> tuple[list[str], list[str]]:
    """What the images share, and their SOP Instance UIDs."""
    names = [item.name.meaning for item in sr.ContentSequence]
    assert names.index("Image Library") == names.index("Imaging Measurements") - 1
    (group,) = sr.ContentSequence[names.index("Image Library")].ContentSequence
    items = [*group.ContentSequence]
    shared = [item.name.meaning for item in items if item.ValueType != "IMAGE"]
    images = [item for item in items if item.ValueType == "IMAGE"]
    assert items == [*items[: len(shared)], *images]
    return shared, [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images]


def test_the_images_that_it_is_about_are_in_its_library_in_the_order_of_the_volume(made):
    sr, _ = made()

    assert library_of(sr) == (["Modality", "Frame of Reference UID"], [f"1.2.3.4.1.{n}" for n in range(1, 5)])


@pytest.mark.parametrize(
    ("changes", "shared"),
    [({"FrameOfReferenceUID": None, "labelled": False}, ["Modality"]), ({"Modality": "HOUSE"}, [])],
)
def test_what_the_images_do_not_say_the_library_leaves_out(made, changes, shared):
    sr, _ = made(**changes)

    assert library_of(sr)[0] == shared


def test_what_belongs_to_no_segment_is_said_of_the_images_each_under_its_title_and_apart_from_the_findings(made):
    sr, _ = made()

    *measured, found = groups_of(sr).get_image_measurement_groups()

    assert [(group.tracking_identifier, values(group)) for group in measured] == [
        ("Both lungs: volume", [("Volume", 2345.6, "mL")]),
        ("Chest: volume", [("Volume", 3456.7, "1")]),
    ]
    assert [sites_of(group) for group in measured] == [[("Lung", "Right and left")], []]
    assert len({group.tracking_uid for group in (*measured, found)}) == 3
    assert values(found) == []
    assert [(e.name.meaning, e.value.meaning) for e in found.get_qualitative_evaluations()] == [
        ("Pulmonary emphysema", "Present"),
        ("nodule", "Indeterminate"),
    ]


def test_each_finding_has_its_sentence_below_it(made):
    *_, found = groups_of(made()[0]).get_image_measurement_groups()

    below = [
        (evaluation.name.meaning, [(item.name.meaning, item.value) for item in evaluation.ContentSequence])
        for evaluation in found[0].ContentSequence
        if evaluation.ValueType == "CODE"
    ]

    assert below == [
        ("Pulmonary emphysema", [("Comment", "There is some.")]),
        ("nodule", [("Comment", "Not judged.")]),
    ]


def test_nothing_measured_is_left_out_where_there_is_no_segmentation(made):
    sr, references = made(labelled=False)

    groups = groups_of(sr).get_image_measurement_groups()

    assert references == []
    assert [value for group in groups for _, value, _ in values(group)] == [1234.5, 2345.6, 3456.7]


def test_summary_limits_and_that_it_is_for_research_only_can_be_read_in_it(made):
    sr, _ = made()

    texts = [(item.name.meaning, item.TextValue) for item in sr.ContentSequence if item.ValueType == "TEXT"]

    assert texts[-3:] == [
        ("Conclusion", "Some emphysema."),
        ("Comment", RESEARCH_USE_ONLY),
        ("Comment", "Thick slices."),
    ]
    assert "research use only" in sr.SeriesDescription


def test_made_again_it_is_the_same(made):
    assert as_bytes(made()[0]) == as_bytes(made()[0])


@pytest.mark.parametrize("site", [None, IN_THE_HEAD])
def test_it_is_valid_with_its_seg_and_names_the_patient_and_study_of_its_source(made, dciodvfy, tmp_path, site):
    sr, (reference,) = made(category=MORPHOLOGY, site=site)
    path = tmp_path / "sr.dcm"

    for made_object in (reference.segmentation, sr):
        path.write_bytes(as_bytes(made_object))
        said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []

    read = dcmread(path)
    assert (read.PatientID, read.StudyInstanceUID, read.AccessionNumber) == ("SECRET-ID", "1.2.3.4.2", "ACC1")


def test_names_in_any_character_set_come_out_as_they_went_in(made):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"

    sr, _ = made(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)

    assert str(dcmread(BytesIO(as_bytes(sr))).PatientName) == name


def test_where_nothing_was_measured_or_found_there_is_no_report(write_series, load_volume, provenance):
    paths = write_series([(0, 0, z) for z in range(4)])
    sources = [read_header_dataset(path) for path in paths]
    frames = load_volume(paths).frames

    said = make_measurement_report(
        MachineOutput("Nothing."), sources=sources, frames=frames, segmentations=(), provenance=provenance
    )

    assert said is None
