"""A SEG made from a label map lies where its source voxels lie, is valid, and is the same when made again."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from radbus_dicom.derived.segmentation import Encoding, make_segmentation, segmentation_reference
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.opening import read_header_dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"  # PS3.4 B.5
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
    "tilted": (1, 0, 0, 0, 0.9397, -0.342),
}


@pytest.fixture
def made(write_series, load_volume, label_map, provenance):
    """Make a SEG of random labels over slices that were written in reverse order."""

    def make(
        orientation=ORIENTATIONS["axial"],
        name="lungs",
        words="Lung",
        by=provenance,
        encoding=Encoding.BINARY,
        **changes,
    ):
        step = (0, 0, 3.0) if orientation == ORIENTATIONS["tilted"] else np.cross(orientation[:3], orientation[3:]) * 3
        positions = [np.array((5.0, -7.0, 11.0)) + i * np.array(step) for i in range(5, -1, -1)]
        paths = write_series(positions, ImageOrientationPatient=list(orientation), **changes)
        volume = load_volume(paths)
        labels = np.random.default_rng(2).integers(0, 3, volume.voxels.shape, dtype=np.uint8)
        labels[2] = 0
        sources = [read_header_dataset(path) for path in paths]
        of_both = label_map(labels)
        segments = tuple(replace(segment, name=words) for segment in of_both.segments)
        named = replace(of_both, name=name, segments=segments)
        seg = make_segmentation(named, sources=sources, frames=volume.frames, provenance=by, encoding=encoding)
        return volume, labels, seg

    return make


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_of_a_segment_lies_at_the_patient_position_of_its_source_voxel(made, name):
    volume, labels, seg = made(ORIENTATIONS[name])
    geometry = volume.geometry

    seg = hd.seg.segread(BytesIO(as_bytes(seg)))
    found = {1: set(), 2: set()}
    for index in range(int(seg.NumberOfFrames)):
        group = seg.PerFrameFunctionalGroupsSequence[index]
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        orientation = np.array(ORIENTATIONS[name], float)
        rows, columns = np.nonzero(seg.pixel_array[index])
        points = origin + columns[:, None] * 0.75 * orientation[:3] + rows[:, None] * 0.5 * orientation[3:]
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[number] |= {tuple(p) for p in np.round(points, 1)}

    for number in (1, 2):
        indices = np.argwhere(labels == number)
        expected = geometry.origin_mm + (indices * geometry.spacing_mm) @ geometry.direction.T
        assert len(found[number]) == len(indices)
        assert np.allclose(sorted(found[number]), sorted(map(tuple, np.round(expected, 1))), atol=0.11)


def test_each_frame_names_the_instance_it_was_made_from_and_empty_frames_are_left_out(made):
    volume, _, seg = made()
    by_position = {frame.image_position_patient: frame.sop_instance_uid for frame in volume.frames}

    named = [
        (
            tuple(float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient),
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID,
        )
        for group in seg.PerFrameFunctionalGroupsSequence
    ]

    assert len(named) == 2 * 5
    assert all(by_position[position] == uid for position, uid in named)
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_label_map_holds_each_label_at_the_place_of_its_source_voxel_and_names_its_instance(made, name):
    volume, labels, seg = made(ORIENTATIONS[name], encoding=Encoding.LABELMAP)

    seg = hd.seg.segread(BytesIO(as_bytes(seg)))
    uids = [frame.sop_instance_uid for frame in volume.frames]
    read = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)

    assert seg.SegmentationType == "LABELMAP"
    assert np.array_equal(read, labels)


def test_a_label_map_is_another_object_that_is_the_same_each_time(made):
    _, _, binary = made()
    _, _, once = made(encoding=Encoding.LABELMAP)
    _, _, again = made(encoding=Encoding.LABELMAP)

    assert as_bytes(once) == as_bytes(again)
    assert once.SOPClassUID == LABEL_MAP_SEGMENTATION
    assert once.SOPInstanceUID != binary.SOPInstanceUID
    assert once.SeriesInstanceUID != binary.SeriesInstanceUID


CHARACTER_SETS = [
    ("ISO_IR 192", "Secret^Patient"),
    ("ISO_IR 100", "Müller^Jürgen"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ("ISO_IR 144", "Иванов^Иван"),
]


@pytest.mark.parametrize(("character_set", "name"), CHARACTER_SETS)
def test_it_passes_dciodvfy_and_says_that_it_is_for_research_only(made, tmp_path, dciodvfy, character_set, name):
    _, _, seg = made(words="左肺 Größe", SpecificCharacterSet=character_set, PatientName=name)
    path = tmp_path / "seg.dcm"
    path.write_bytes(as_bytes(seg))

    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False)

    assert "Error" not in said.stdout + said.stderr
    assert seg.ContentDescription == "Research use only. Not for diagnosis."
    assert "research use only" in seg.SeriesDescription
    assert dcmread(path).SegmentSequence[0].SegmentLabel == "左肺 Größe"


def test_a_rerun_makes_the_same_bytes_with_uids_from_the_job(made):
    _, _, first = made()
    _, _, second = made()

    assert as_bytes(first) == as_bytes(second)
    assert first.SOPInstanceUID == derived_uid("job-1", "seg/lung-ct/1.2.3.4.3/lungs")
    assert first.SeriesInstanceUID == series_uid("job-1", "seg/lung-ct/1.2.3.4.3") != first.SOPInstanceUID
    assert first.StudyInstanceUID == "1.2.3.4.2"


@pytest.mark.parametrize("other", [{"machine": "nodule-ct"}, {"series": "1.2.3.4.9"}])
def test_another_machine_or_series_of_a_job_has_objects_and_series_of_its_own(made, provenance, other):
    _, _, first = made()
    changed = replace(provenance, machine=other.get("machine", provenance.machine))
    series = {"SeriesInstanceUID": other["series"]} if "series" in other else {}

    _, _, second = made(by=changed, **series)

    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert first.get(keyword) != second.get(keyword)
    uids = [seg.DimensionOrganizationSequence[0].DimensionOrganizationUID for seg in (first, second)]
    assert uids[0] != uids[1]


def test_other_objects_name_the_seg_by_the_uids_that_it_has(made, label_map, provenance, instance):
    _, labels, seg = made()

    reference = segmentation_reference(label_map(labels), instance(1), provenance)

    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert reference.get(keyword) == seg.get(keyword)


def test_uids_of_other_jobs_and_outputs_differ():
    uids = {derived_uid(job, output) for job in ("a", "b") for output in ("seg/lungs", "seg/lesions", "pdf")}

    assert len(uids) == 6
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


@pytest.mark.parametrize(("character_set", "name"), CHARACTER_SETS)
def test_names_in_any_character_set_of_the_source_come_out_as_utf_8(made, character_set, name):
    _, _, seg = made(SpecificCharacterSet=character_set, PatientName=name)

    back = dcmread(BytesIO(as_bytes(seg)))

    assert str(back.PatientName) == name
    assert back.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("name", ["3rd ventricle", "Ödem", "左肺", "", "_x"])
def test_a_label_map_of_any_name_has_a_content_label(made, name):
    _, _, seg = made(name=name)

    assert seg.ContentLabel[0].isalpha()


def test_what_a_deidentified_source_lacks_is_empty_and_invalid_values_are_left_out(made):
    _, _, seg = made(PatientID=None, PatientName=None, StudyID=None, PatientAge="42")

    assert (seg.PatientID, seg.StudyID) == ("", "")
    assert "PatientAge" not in seg


def test_labels_that_nobody_described_or_of_another_shape_are_refused(write_series, load_volume, label_map, provenance):
    paths = write_series([(0, 0, z) for z in range(3)])
    volume, sources = load_volume(paths), [read_header_dataset(path) for path in paths]

    for labels, words in (
        (np.full((3, 12, 10), 7, np.uint8), r"\[7\] have none"),
        (np.ones((2, 12, 10), np.uint8), "3"),
    ):
        with pytest.raises(OutputNotValid, match=words):
            make_segmentation(label_map(labels), sources=sources, frames=volume.frames, provenance=provenance)


def test_nothing_labelled_makes_no_seg(write_series, load_volume, label_map, provenance):
    paths = write_series([(0, 0, z) for z in range(3)])
    volume = load_volume(paths)

    seg = make_segmentation(
        label_map(np.zeros_like(volume.voxels, np.uint8)),
        sources=[read_header_dataset(path) for path in paths],
        frames=volume.frames,
        provenance=provenance,
    )

    assert seg is None


def as_bytes(ds):
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
