"""The presentation state draws around what is labelled, on the frames where it is, and is valid."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_dicom.derived.contours import trace
from radbus_dicom.derived.key_slices import LUNG_WINDOW
from radbus_dicom.derived.presentation_state import Drawn, make_presentation_state
from radbus_dicom.opening import read_header_dataset
from radbus_dicom.tones import Window
from radbus_machines.types import Frame, KeyFrame

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

SCALE = 16  # so that outlines between pixels can be filled and compared


@pytest.fixture
def made(write_series, load_volume, label_map, provenance):
    def make(series=None, names=("Left lung", "Right lung"), title="Where it is", **changes):
        paths = write_series([(0, 0, z) for z in range(4, -1, -1)], **(series or {}))
        volume = load_volume(paths)
        labels = np.zeros(volume.voxels.shape, np.uint8)
        labels[1, 2:7, 2:8] = 1
        labels[1, 4, 4] = 0  # a hole
        labels[3, 0:3, 0:2] = 2  # at the border
        sources = [read_header_dataset(path) for path in paths]
        for source in sources[:1]:
            for keyword, value in changes.items():
                if value is None:
                    delattr(source, keyword)
                else:
                    setattr(source, keyword, value)
        of_both = label_map(labels)
        segments = tuple(replace(s, name=name) for s, name in zip(of_both.segments, names, strict=True))
        drawn = Drawn([replace(of_both, segments=segments)], [KeyFrame(3, title)], volume.frames, LUNG_WINDOW)
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


def multi_frame(slopes, **shared):
    """Return the elements of an enhanced instance whose frames have these slopes; None is no transformation."""
    groups = []
    for index, slope in enumerate(slopes):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, index]
        group.PlanePositionSequence = [place]
        if slope is not None:
            group.PixelValueTransformationSequence = [Dataset()]
            group.PixelValueTransformationSequence[0].RescaleSlope = slope
        groups.append(group)
    common, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 1
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    common.PixelMeasuresSequence, common.PlaneOrientationSequence = [measures], [orientation]
    return {
        "SOPClassUID": EnhancedMRImageStorage,
        "NumberOfFrames": len(slopes),
        "SharedFunctionalGroupsSequence": [common],
        "PerFrameFunctionalGroupsSequence": groups,
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "RescaleType": None,
        "Modality": "MR",
        "PixelData": bytes(len(slopes) * 12 * 10 * 2),
    }


def of_frames(slopes, instance, provenance, **changes):
    source = instance(1, **multi_frame(slopes), **changes)
    frames = [Frame(source.SOPInstanceUID, source.SOPClassUID, (0, 0, i), 1, i + 1) for i in range(len(slopes))]
    key_frames = [KeyFrame(1, "Where it is")]
    drawn = Drawn([], key_frames, frames, Window(500.123456789012345, 1234.56789012345678))
    return make_presentation_state(drawn, sources=[source], provenance=provenance)


def test_frames_of_one_instance_are_shown_by_one_state_where_all_are_rescaled_alike(instance, provenance):
    assert of_frames((None, None), instance, provenance).RescaleSlope == 1
    assert of_frames((2, 2), instance, provenance).RescaleSlope == 2
    assert of_frames((2, 3), instance, provenance) is None


def test_what_one_slice_lacks_or_has_in_an_odd_way_is_no_obstacle(made):
    for odd in (
        {"RescaleType": None},
        {"WindowCenter": [1, 2], "WindowWidth": 3},
        {"WindowCenter": 1, "WindowWidth": 0},
        {"WindowCenter": "", "WindowWidth": ""},
    ):
        state = made(**odd)[2]

        assert (state.RescaleIntercept, state.RescaleSlope) == (-1024, 1)
        (voi,) = state.SoftcopyVOILUTSequence
        assert "ReferencedImageSequence" not in voi
    assert made({"RescaleIntercept": None})[2].RescaleIntercept == 0


def test_images_whose_low_values_are_bright_are_shown_so(made):
    assert made()[2].PresentationLUTShape == "IDENTITY"
    assert made({"PhotometricInterpretation": "MONOCHROME1"})[2].PresentationLUTShape == "INVERSE"


def test_a_title_of_any_length_is_written(made):
    state = made(title="x" * 5000)[2]

    assert "x" * 1024 in [a.TextObjectSequence[0].UnformattedTextValue for a in annotations_of(state, "WORDS")]
    assert len(annotations_of(made(title="")[2], "WORDS")) == 1


def test_the_states_of_two_series_of_a_job_are_two_in_two_series(made):
    first, second = made()[2], made({"SeriesInstanceUID": "1.2.3.4.9"})[2]

    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_an_outline_of_more_points_than_can_be_counted_is_left_out(instance, provenance, label_map):
    comb = np.zeros((1, 512, 512), np.uint8)
    comb[0, 0] = comb[0, :, 1::4] = comb[0, 2::2, 0::4] = comb[0, 2::2, 2::4] = 1
    comb[0, 0, -1] = 2
    source = instance(1, Rows=512, Columns=512, PixelData=bytes(512 * 512 * 2))
    frames = [Frame(source.SOPInstanceUID, source.SOPClassUID, (0, 0, 1), 1, 1)]

    drawn = Drawn([label_map(comb)], [], frames, LUNG_WINDOW)
    state = make_presentation_state(drawn, sources=[source], provenance=provenance)

    state = dcmread(BytesIO(as_bytes(state)))
    assert len(trace(comb[0] == 1)[0]) > 65_535
    first, second, _ = (layer.GraphicLayer for layer in state.GraphicLayerSequence)
    assert (len(annotations_of(state, first)), len(annotations_of(state, second))) == (0, 1)


def test_made_again_it_is_the_same(made):
    assert as_bytes(made()[2]) == as_bytes(made()[2])


def test_it_is_valid(made, dciodvfy, tmp_path):
    path = tmp_path / "pr.dcm"
    japanese = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}
    path.write_bytes(as_bytes(made(japanese, names=("左肺", "Größe"), title="Большой")[2]))

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
