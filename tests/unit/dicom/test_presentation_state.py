"""The presentation state draws around what is labelled, on the frames where it is, and is valid."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import dcmread
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_dicom.derived.key_slices import LUNG_WINDOW
from radbus_dicom.derived.presentation_state import Drawn, make_presentation_state
from radbus_dicom.opening import read_header_dataset
from radbus_machines.types import KeyFrame

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

SCALE = 16  # so that outlines between pixels can be filled and compared


@pytest.fixture
def made(write_series, load_volume, label_map, provenance):
    def make(series=None, names=("Left lung", "Right lung"), **changes):
        paths = write_series([(0, 0, z) for z in range(4, -1, -1)], **(series or {}))
        volume = load_volume(paths)
        labels = np.zeros(volume.voxels.shape, np.uint8)
        labels[1, 2:7, 2:8] = 1
        labels[1, 4, 4] = 0  # a hole
        labels[3, 0:3, 0:2] = 2  # at the border
        sources = [read_header_dataset(path) for path in paths]
        for source in sources[:1]:
            for keyword, value in changes.items():
                setattr(source, keyword, value)
        of_both = label_map(labels)
        segments = tuple(replace(s, name=name) for s, name in zip(of_both.segments, names, strict=True))
        drawn = Drawn([replace(of_both, segments=segments)], [KeyFrame(3, "Where it is")], volume.frames, LUNG_WINDOW)
        return volume, labels, make_presentation_state(drawn, sources=sources, provenance=provenance)

    return make


def as_bytes(ds) -> bytes:
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def annotations_of(state, layer):
    return [a for a in state.GraphicAnnotationSequence if a.GraphicLayer == layer]


def filled(graphics, shape) -> np.ndarray:
    image = Image.new("1", (shape[1] * SCALE, shape[0] * SCALE))
    for graphic in graphics:
        points = np.array(graphic.GraphicData, float).reshape(-1, 2) * SCALE
        ImageDraw.Draw(image).polygon([tuple(p) for p in points], fill=1)
    middle = SCALE // 2
    return np.asarray(image)[middle::SCALE, middle::SCALE]


def test_outlines_filled_again_are_what_was_labelled_on_the_frame_that_they_name(made):
    volume, labels, state = made()
    layers = [layer.GraphicLayer for layer in state.GraphicLayerSequence if layer.GraphicLayer != "WORDS"]

    drawn = {
        (number, annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID): annotation.GraphicObjectSequence
        for number, layer in enumerate(layers, start=1)
        for annotation in annotations_of(state, layer)
    }

    expected = {
        (1, volume.frames[1].sop_instance_uid): labels[1] == 1,
        (2, volume.frames[3].sop_instance_uid): labels[3] == 2,
    }
    assert drawn.keys() == expected.keys()
    for key, mask in expected.items():
        assert np.array_equal(filled(drawn[key], mask.shape), mask)


def test_every_frame_says_that_it_is_for_research_only_and_a_key_frame_has_its_title(made):
    volume, _, state = made()

    said = {
        text.UnformattedTextValue: {i.ReferencedSOPInstanceUID for i in annotation.ReferencedImageSequence}
        for annotation in annotations_of(state, "WORDS")
        for text in annotation.TextObjectSequence
    }

    assert said == {
        RESEARCH_USE_ONLY: {frame.sop_instance_uid for frame in volume.frames},
        "Where it is": {volume.frames[3].sop_instance_uid},
    }


def test_it_shows_the_window_and_the_modality_values_of_the_source(made):
    _, _, state = made()

    (voi,) = state.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (LUNG_WINDOW.centre, LUNG_WINDOW.width)
    assert (state.RescaleIntercept, state.RescaleSlope) == (-1024, 1)


def test_slices_that_are_rescaled_differently_cannot_be_shown_by_one_state(made):
    assert made(RescaleSlope=2)[2] is None


def test_made_again_it_is_the_same(made):
    assert as_bytes(made()[2]) == as_bytes(made()[2])


def test_it_is_valid(made, dciodvfy, tmp_path):
    path = tmp_path / "pr.dcm"
    path.write_bytes(as_bytes(made()[2]))

    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr

    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    assert dcmread(path).PatientID == "SECRET-ID"


def test_names_in_any_character_set_come_out_as_they_went_in(made):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"

    state = made({"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": name})[2]

    assert str(dcmread(BytesIO(as_bytes(state))).PatientName) == name


@pytest.mark.parametrize("name", ["3rd ventricle", "Ödem", "左肺", "", " _x", "L" * 80])
def test_a_segment_of_any_name_has_a_layer_of_its_own(made, name):
    state = made(names=(name, name))[2]

    first, second, words = (layer.GraphicLayer for layer in state.GraphicLayerSequence)
    assert len({first, second, words}) == 3
