"""Radiographs: what their headers say of spacing, grey values and sides, and how they are shown and drawn on."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from radbus_dicom.derived.presentation_state import Drawn, make_presentation_state
from radbus_dicom.derived.secondary_capture import Overlaid, make_secondary_captures
from radbus_dicom.errors import SeriesNotUsable
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import VolumePlan, plan_volume
from radbus_dicom.opening import read_header_dataset
from radbus_dicom.tones import Curve, Window
from radbus_machines.types import Distances, KeyFrame, Line, Volume
from radbus_testing.radiograph_dicom import RadiographHeader, radiograph_instance

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")
STORED = np.arange(48, dtype=np.float32).reshape(6, 8) * 80
LINE = Line(0, (2.0, 1.0), (2.0, 6.0), "Heart 3 mm", (240, 206, 90))


@pytest.fixture
def written(tmp_path):
    def write(*headers: RadiographHeader, stored: np.ndarray = STORED, **changes: object) -> list[Path]:
        paths = []
        for number, header in enumerate(headers or (RadiographHeader(),)):
            ds = dcmread(BytesIO(radiograph_instance(stored, header)))
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            paths.append(tmp_path / f"{number}.dcm")
            ds.save_as(paths[-1])
        return paths

    return write


def planned(paths: list[Path]) -> VolumePlan:
    return plan_volume([header for path in paths for header in read_frame_headers(path)])


@pytest.mark.parametrize(
    ("changes", "spacing_mm", "distances"),
    [
        ({}, 0.6, Distances.DETECTOR),
        ({"PixelSpacing": [0.6, 0.6]}, 0.6, Distances.DETECTOR),  # the same: nothing was corrected
        ({"PixelSpacing": [0.5, 0.5]}, 0.5, Distances.PATIENT),
        ({"PixelSpacing": [0.6, 0.6], "PixelSpacingCalibrationType": "FIDUCIAL"}, 0.6, Distances.PATIENT),
        ({"EstimatedRadiographicMagnificationFactor": "1.2"}, 0.5, Distances.PATIENT),
        ({"EstimatedRadiographicMagnificationFactor": "0"}, 0.6, Distances.DETECTOR),
        ({"ImagerPixelSpacing": None}, 1.0, Distances.UNKNOWN),
        ({"ImagerPixelSpacing": None, "PixelSpacing": [0.0, 0.0]}, 1.0, Distances.UNKNOWN),
    ],
)
def test_what_a_millimetre_is_comes_from_both_spacings_and_the_magnification(written, changes, spacing_mm, distances):
    plan = planned(written(**changes))

    assert plan.geometry.spacing_mm == pytest.approx((1.0, spacing_mm, spacing_mm))
    assert plan.projection.distances is distances


@pytest.mark.parametrize(
    ("header", "changes", "inverted"),
    [
        (RadiographHeader(), {}, False),
        (RadiographHeader(photometric_interpretation="MONOCHROME1"), {}, True),
        (RadiographHeader(kind="RAW"), {}, False),
        (RadiographHeader(kind="RAW"), {"PixelIntensityRelationshipSign": 1}, True),
        (RadiographHeader(), {"PixelIntensityRelationshipSign": 1}, False),  # it was made for the eye
    ],
)
def test_which_values_are_bright_is_said_by_the_header_or_of_raw_ones_by_the_exposure(
    written, header, changes, inverted
):
    assert planned(written(header, **changes)).projection.inverted is inverted


@pytest.mark.parametrize(
    ("orientation", "towards"),
    [(["L", "F"], ("L", "F")), (["R", "F"], ("R", "F")), (["AL", "FP"], ("A", "F")), (["L", "R"], None), ("", None)],
)
def test_sides_are_those_of_the_header_or_nobody_said_them(written, orientation, towards):
    assert planned(written(PatientOrientation=orientation)).projection.towards == towards


def test_of_several_views_in_a_series_the_frontal_one_is_judged_and_the_others_are_named(written):
    series = {"study_instance_uid": "1.2.3", "series_instance_uid": "1.2.4"}
    views = [RadiographHeader(view_position=view, **series) for view in ("LL", "PA")]

    plan = planned(written(*views))

    assert len(plan.headers) == 1
    assert plan.headers[0].radiograph.view_position == "PA"
    assert "left out, by their view: LL" in " ".join(plan.remarks)


def test_several_images_that_do_not_say_their_view_are_not_usable(written):
    series = {"study_instance_uid": "1.2.3", "series_instance_uid": "1.2.4"}
    paths = written(*[RadiographHeader(view_position=view, **series) for view in ("X", "Y")])

    with pytest.raises(SeriesNotUsable, match="Expected one radiograph; the series has 2"):
        planned(paths)


def lut(first: int, entries: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, 8])
    item.add_new("LUTData", "US", entries)
    return item


def test_its_own_table_shows_it_before_its_window(written):
    path = written(VOILUTSequence=[lut(100, list(range(256)))])[0]

    tone = read_frame_headers(path)[0].radiograph.tone

    assert isinstance(tone, Curve)
    assert tone.shown(np.array([0, 100, 227.5, 5000])) == pytest.approx([0, 0, 128 / 255, 1])


@pytest.mark.parametrize(("function", "at_edge"), [("LINEAR", 0.0), ("SIGMOID", 1 / (1 + np.e**2))])
def test_a_window_is_a_line_or_a_curve_as_the_header_says(written, function, at_edge):
    tone = read_frame_headers(written(VOILUTFunction=function)[0])[0].radiograph.tone

    assert tone.shown(np.array([0.0, 1250.0, 2500.0])) == pytest.approx([at_edge, 0.5, 1 - at_edge])


@pytest.mark.parametrize("entries", [[0, 1], list(range(300))])
def test_a_table_that_is_not_one_is_passed_over(written, entries):
    item = lut(0, entries)
    item["LUTDescriptor"].value = [256, 0, 8]

    tone = read_frame_headers(written(VOILUTSequence=[item])[0])[0].radiograph.tone

    assert isinstance(tone, Window)


def volume_of(plan: VolumePlan) -> Volume:
    voxels = np.asarray(STORED[None, : plan.shape[1], : plan.shape[2]], np.float32)
    return Volume(voxels, plan.geometry, plan.frames, plan.modality, projection=plan.projection)


@pytest.mark.parametrize("header", [RadiographHeader(), RadiographHeader(kind="CR"), RadiographHeader(kind="SC")])
def test_a_presentation_state_draws_measured_lines_in_the_pixels_of_the_image(written, provenance, header):
    paths = written(header)
    plan = planned(paths)
    tone = plan.headers[0].radiograph.tone or Window(100.0, 50.0)
    drawn = Drawn([], [KeyFrame(0, "PA view")], plan.frames, tone, [LINE])

    state = make_presentation_state(drawn, sources=[read_header_dataset(path) for path in paths], provenance=provenance)

    graphics = [each for each in state.GraphicAnnotationSequence if "GraphicObjectSequence" in each]
    assert list(graphics[0].GraphicObjectSequence[0].GraphicData) == [1.5, 2.5, 6.5, 2.5]
    assert graphics[0].TextObjectSequence[0].UnformattedTextValue == "Heart 3 mm"


def test_a_presentation_state_keeps_the_table_of_its_image(written, provenance):
    paths = written(VOILUTSequence=[lut(100, list(range(256)))])
    plan = planned(paths)
    drawn = Drawn([], [], plan.frames, plan.headers[0].radiograph.tone)

    state = make_presentation_state(drawn, sources=[read_header_dataset(path) for path in paths], provenance=provenance)

    table = state.SoftcopyVOILUTSequence[0].VOILUTSequence[0]
    assert list(table.LUTDescriptor)[:2] == [256, 100]


@pytest.mark.parametrize("columns", [7, 8])
def test_a_capture_of_any_number_of_pixels_can_be_made_and_is_in_the_way_of_its_source(written, provenance, columns):
    paths = written(RadiographHeader(patient_orientation=("R", "F")), stored=STORED[:5, :columns])
    plan = planned(paths)
    overlaid = Overlaid(volume_of(plan), [], [KeyFrame(0, "PA view")], None, [LINE])

    (capture,) = make_secondary_captures(
        overlaid, sources=[read_header_dataset(path) for path in paths], provenance=provenance
    )

    assert capture.PatientOrientation == ["R", "F"]
    assert capture.pixel_array.shape == (5, columns, 3)
    assert np.ptp(capture.pixel_array.astype(int), axis=2).max() > 50  # the line has a colour
