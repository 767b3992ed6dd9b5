"""An RT Structure Set lies on its source frames, repeats their UIDs as they are, is valid, and is the same again."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from radbus_dicom.derived.rt_structure_set import Structures, make_rt_structure_set
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.opening import read_header_dataset
from radbus_dicom.reading import Profile, read_header
from radbus_machines.types import Code

from tests.unit.dicom.test_contours import filled

ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
    "tilted": (1, 0, 0, 0, 0.9397, -0.342),
}


def hashed(uid: str) -> str:
    """Make a UID what the inferencing API's clients make of it: 64 digits, no dot."""
    return ("1" + "".join(f"{byte:02d}" for byte in hashlib.sha512(uid.encode()).digest()))[:64]


@pytest.fixture
def made(write_series, load_volume, label_map, provenance):
    """Make a structure set of random labels over slices that were written in reverse order; back from its bytes."""

    def make(orientation=ORIENTATIONS["axial"], **changes):
        step = (0, 0, 3.0) if orientation == ORIENTATIONS["tilted"] else np.cross(orientation[:3], orientation[3:]) * 3
        positions = [np.array((5.0, -7.0, 11.0)) + i * np.array(step) for i in range(5, -1, -1)]
        paths = write_series(positions, ImageOrientationPatient=list(orientation), **changes)
        volume = load_volume(paths)
        labels = np.random.default_rng(2).integers(0, 2, volume.voxels.shape, dtype=np.uint8)
        labels[2] = 0
        structures = Structures([label_map(labels)], volume.frames, volume.geometry)
        content = as_bytes(
            make_rt_structure_set(
                structures, source=read_header_dataset(paths[-1]), provenance=provenance, model_id="lung-ct:1.2.0"
            )
        )
        return volume, labels, content

    return make


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_filling_the_contours_on_the_images_that_they_name_gives_the_labels(made, name):
    volume, labels, content = made(ORIENTATIONS[name])
    contours = dcmread(BytesIO(content)).ROIContourSequence[0].ContourSequence
    right, down = np.array(ORIENTATIONS[name], float).reshape(2, 3)

    for frame, plane in zip(volume.frames, labels, strict=True):
        polygons = []
        for contour in contours:
            if contour.ContourImageSequence[0].ReferencedSOPInstanceUID != frame.sop_instance_uid:
                continue
            points = np.array(contour.ContourData, float).reshape(-1, 3) - frame.image_position_patient
            assert len(points) == contour.NumberOfContourPoints
            assert np.abs(points @ np.cross(right, down)).max() < 1e-3
            polygons.append(np.stack([points @ down / 0.5, points @ right / 0.75], axis=1))
        assert np.array_equal(filled(polygons, plane.shape), plane == 1)


def test_it_is_implicit_little_endian_with_short_numbers_and_whatever_its_readers_look_for(made):
    _, _, content = made()

    ds = dcmread(BytesIO(content))

    assert ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert (ds.Modality, ds.SoftwareVersions, ds.ApprovalStatus) == ("RTSTRUCT", "lung-ct:1.2.0", "UNAPPROVED")
    assert (ds.SeriesDate, ds.StructureSetDate) == ("20260102", "20260102")
    assert all(ds[word].value for word in ("Manufacturer", "StructureSetLabel", "StructureSetName"))
    assert "research use only" in ds.SeriesDescription
    assert all(ds[word].is_empty for word in ("StructureSetDescription", "OperatorsName", "SeriesNumber"))
    rois, drawn, seen = ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence
    assert [(roi.ROINumber, roi.ROIName) for roi in rois] == [(1, "Left lung"), (2, "Right lung")]
    assert [(roi.ReferencedROINumber, list(roi.ROIDisplayColor)) for roi in drawn] == [
        (1, [0, 200, 0]),
        (2, [200, 60, 0]),
    ]
    assert [(each.ObservationNumber, each.ReferencedROINumber) for each in seen] == [(0, 1), (1, 2)]
    assert all(each.RTROIInterpretedType == "ORGAN" and "ROIInterpreter" in each for each in seen)
    assert {contour.ContourGeometricType for contour in drawn[0].ContourSequence} == {"CLOSED_PLANAR"}
    numbers = [str(n) for contour in drawn[0].ContourSequence for n in contour.ContourData]
    assert max(map(len, numbers)) <= 16


@pytest.mark.parametrize(("all_organs", "kinds"), [(False, ["ORGAN", ""]), (True, ["ORGAN", "ORGAN"])])
def test_a_lesion_is_no_organ_but_where_a_client_expects_all_to_be(
    write_series, load_volume, label_map, provenance, dciodvfy, tmp_path, all_organs, kinds
):
    paths = write_series([(0, 0, z) for z in range(3)])
    volume, target = load_volume(paths), tmp_path / "rtstruct.dcm"
    lungs = label_map(np.ones(volume.voxels.shape, np.uint8))
    organ, other = lungs.segments
    lesion = replace(other, category=Code("49755003", "SCT", "Morphologically Abnormal Structure"))
    structures = Structures([replace(lungs, segments=(organ, lesion))], volume.frames, volume.geometry, all_organs)

    ds = make_rt_structure_set(structures, source=read_header_dataset(paths[0]), provenance=provenance, model_id="m:1")
    ds.save_as(target, enforce_file_format=True)
    said = subprocess.run([dciodvfy, str(target)], capture_output=True, text=True, check=False).stderr

    assert [each.RTROIInterpretedType for each in ds.RTROIObservationsSequence] == kinds
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_a_label_without_voxels_still_has_its_region_and_observation(made):
    _, _, content = made()

    ds = dcmread(BytesIO(content))

    assert "ContourSequence" in ds.ROIContourSequence[0]
    assert "ContourSequence" not in ds.ROIContourSequence[1]


def test_another_machine_of_the_job_makes_another_instance_of_its_own(write_series, load_volume, label_map, provenance):
    paths = write_series([(0, 0, z) for z in range(3)])
    volume, source = load_volume(paths), read_header_dataset(paths[0])
    structures = Structures([label_map(np.ones_like(volume.voxels, np.uint8))], volume.frames, volume.geometry)

    first, again, other = (
        make_rt_structure_set(structures, source=source, provenance=origin, model_id="m:1")
        for origin in (provenance, provenance, replace(provenance, machine="other"))
    )

    assert first.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID


def test_uids_of_64_digits_are_repeated_as_they_are_and_its_own_come_from_the_job(
    write_series, load_volume, label_map, provenance
):
    absent = dict.fromkeys(("PatientID", "PatientName", "InstanceNumber", "SeriesNumber"))
    paths = write_series([(0, 0, z) for z in (2, 0, 1)], **absent)
    words = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    for path in paths:
        ds = dcmread(path)
        for word in words:
            value = hashed(ds[word].value)
            ds[word].VR = "LO"
            ds[word].value = value
        ds.save_as(path)
    volume = load_volume(paths)
    structures = Structures([label_map(np.ones_like(volume.voxels, np.uint8))], volume.frames, volume.geometry)
    source = read_header_dataset(paths[1])

    ds = make_rt_structure_set(structures, source=source, provenance=provenance, model_id="lung-ct:1.2.0")
    back = dcmread(BytesIO(as_bytes(ds)))

    with paths[1].open("rb") as file:
        read = read_header(file, size_bytes=paths[1].stat().st_size, profile=Profile.TOLERANT)
    assert read.study_instance_uid == hashed("1.2.3.4.2")
    assert [frame.image_position_patient[2] for frame in volume.frames] == [0, 1, 2]
    reference = back.ReferencedFrameOfReferenceSequence[0]
    study = reference.RTReferencedStudySequence[0]
    series = study.RTReferencedSeriesSequence[0]
    assert back.StudyInstanceUID == study.ReferencedSOPInstanceUID == hashed("1.2.3.4.2")
    assert series.SeriesInstanceUID == hashed("1.2.3.4.3")
    assert back.FrameOfReferenceUID == reference.FrameOfReferenceUID == hashed("1.2.3.4.4")
    assert {roi.ReferencedFrameOfReferenceUID for roi in back.StructureSetROISequence} == {hashed("1.2.3.4.4")}
    named = [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence]
    assert named == [hashed(f"1.2.3.4.1.{number}") for number in (2, 3, 1)]
    drawn = back.ROIContourSequence[0].ContourSequence
    assert [contour.ContourImageSequence[0].ReferencedSOPInstanceUID for contour in drawn] == named
    name = f"rtstruct/{provenance.machine}/{hashed('1.2.3.4.3')}"
    own = derived_uid("job-1", name)
    assert back.SOPInstanceUID == back.file_meta.MediaStorageSOPInstanceUID == own
    assert back.SeriesInstanceUID == series_uid("job-1", name)
    assert (back["PatientID"].is_empty, back["PatientName"].is_empty) == (True, True)


@pytest.mark.parametrize(
    ("character_set", "name"), [("ISO_IR 100", "Müller^Jürgen"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")]
)
def test_it_passes_dciodvfy_with_the_patient_s_name_as_it_was(made, tmp_path, dciodvfy, character_set, name):
    _, _, content = made(SpecificCharacterSet=character_set, PatientName=name)
    path = tmp_path / "rtstruct.dcm"
    path.write_bytes(content)

    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False)

    assert "Error" not in said.stdout + said.stderr
    assert str(dcmread(path).PatientName) == name


def test_a_contour_on_a_frame_of_many_names_the_frame(write_series, load_volume, label_map, provenance):
    paths = write_series([(0, 0, z) for z in range(3)])
    volume = load_volume(paths)
    frames = [replace(frame, sop_instance_uid="1.2", frame_number=3 - n) for n, frame in enumerate(volume.frames)]
    labels = np.zeros_like(volume.voxels, np.uint8)
    labels[2] = 1

    structures = Structures([label_map(labels)], frames, volume.geometry)
    source = Dataset()
    source.update(read_header_dataset(paths[0]))
    source.SOPInstanceUID = "1.2"
    ds = make_rt_structure_set(structures, source=source, provenance=provenance, model_id="lung-ct:1.2.0")

    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    (image,) = study.RTReferencedSeriesSequence[0].ContourImageSequence
    (contour,) = ds.ROIContourSequence[0].ContourSequence
    assert list(image.ReferencedFrameNumber) == [1, 2, 3]
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == 1


def test_a_rerun_makes_the_same_bytes(made):
    assert made()[2] == made()[2]


def test_a_structure_set_without_a_segment_or_too_far_away_is_refused(write_series, load_volume, label_map, provenance):
    paths = write_series([(0, 1e12, z) for z in range(3)])
    volume, source = load_volume(paths), read_header_dataset(paths[0])
    far = label_map(np.ones_like(volume.voxels, np.uint8))

    for label_maps, words in (((), "a segment at least"), ((far,), "positions in the patient")):
        structures = Structures(label_maps, volume.frames, volume.geometry)
        with pytest.raises(OutputNotValid, match=words):
            make_rt_structure_set(structures, source=source, provenance=provenance, model_id="lung-ct:1.2.0")


def as_bytes(ds):
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
