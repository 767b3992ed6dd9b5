"""Secondary captures show the labels on their frames, at the place of their source, and are valid."""

from __future__ import annotations

import subprocess
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from radbus_dicom.derived.secondary_capture import Overlaid, chosen_frames, make_secondary_captures
from radbus_dicom.opening import read_header_dataset
from radbus_machines.types import KeyFrame

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")


NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.fixture
def overlaid(write_series, load_volume, label_map):
    japanese = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": NAME}
    paths = write_series([(0, 0, z) for z in range(8)], **japanese)
    volume = load_volume(paths)
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[2:6, 2:7, 2:8] = 1
    sources = [read_header_dataset(path) for path in paths]
    return Overlaid(volume, [label_map(labels)], [KeyFrame(7, "A key frame")]), sources


def made(overlaid, provenance):
    what, sources = overlaid
    streams = []
    for ds in make_secondary_captures(what, sources=sources, provenance=provenance):
        streams.append(BytesIO())
        ds.save_as(streams[-1], enforce_file_format=True)
    return [stream.getvalue() for stream in streams]


def test_labelled_frames_and_key_frames_are_captured_and_no_more_than_the_limit(overlaid):
    what, _ = overlaid

    assert chosen_frames(what) == [2, 3, 4, 5, 7]
    assert chosen_frames(what, most=3) == [2, 5, 7]
    assert chosen_frames(what, most=1) == [7]


def test_a_capture_lies_where_its_source_lies_and_names_it(overlaid, provenance):
    what, _ = overlaid

    captures = [dcmread(BytesIO(each)) for each in made(overlaid, provenance)]

    for frame, capture in zip([2, 3, 4, 5, 7], captures, strict=True):
        source = what.volume.frames[frame]
        assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.sop_instance_uid
        assert tuple(map(float, capture.ImagePositionPatient)) == source.image_position_patient
    assert {str(capture.PatientName) for capture in captures} == {NAME}
    assert captures[-1].ImageComments.startswith("A key frame")
    assert len({capture.SOPInstanceUID for capture in captures}) == 5
    assert {capture.SeriesInstanceUID for capture in captures} == {captures[0].SeriesInstanceUID}


def test_labels_are_in_colour_and_the_rest_is_grey(overlaid, provenance):
    what, _ = overlaid

    pixels = dcmread(BytesIO(made(overlaid, provenance)[0])).pixel_array.astype(int)

    coloured = np.ptp(pixels, axis=2) > 8
    labelled = what.label_maps[0].labels[2] == 1
    assert coloured[labelled].all()
    assert not coloured[:2].any()


def test_made_again_they_are_the_same(overlaid, provenance):
    assert made(overlaid, provenance) == made(overlaid, provenance)


def test_they_are_valid(overlaid, provenance, dciodvfy, tmp_path):
    for number, content in enumerate(made(overlaid, provenance)):
        path = tmp_path / f"sc{number}.dcm"
        path.write_bytes(content)

        said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr

        assert [line for line in said.splitlines() if line.startswith("Error")] == []
