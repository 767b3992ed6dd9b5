"""Left is left: from the files of a patient who lies in some way to each output that names or shows a side.

Both phantoms have no symmetry: the chest a mass in one lung, the head blood and a shift on one side. Sides are those of
the patient by the standard alone: x grows to the left (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from radbus_dicom.decoding import decode_into
from radbus_dicom.derived.key_slices import BRAIN_WINDOW, LUNG_WINDOW, draw_key_slice
from radbus_dicom.derived.lettering import FONT_FOLDER
from radbus_dicom.derived.measurement_report import SegmentationReference, make_measurement_report
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.segmentation import make_segmentation
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_dicom.opening import read_header_dataset
from radbus_machines.head_ct import HeadCt
from radbus_machines.lung_ct import LungCt
from radbus_machines.manifest import load_manifests
from radbus_machines.types import KeyFrame, MachineOutput, Volume
from radbus_testing.head_phantom import LEFT_BLOOD, RIGHT_BLOOD, head_phantom
from radbus_testing.phantom import ORIENTATIONS, chest_phantom
from radbus_testing.phantom_anatomy import Ball
from radbus_testing.phantom_dicom import write_phantom

from tests.unit.machines import test_head_ct_machine, test_lung_ct_machine

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

MODELS = Path(__file__).parents[3] / "triton_models"
PROVENANCE = Provenance("job-1", "machine", "1.0.0", "use-case", 1, datetime(2026, 1, 2, tzinfo=UTC), None)
RIGHT, LEFT = "24028007", "7771000"
SIDES = {"right": -1, "left": 1}
YELLOW = (255, 220, 90)


def as_taken(phantom: Any, way: str) -> Any:
    """Lay an axial phantom out as another reconstruction of it has it; the patient stays as he is."""
    direction, voxels, labels = phantom.direction, phantom.voxels, phantom.truth.labels
    order = {"coronal": (1, 0, 2), "sagittal": (2, 0, 1)}.get(way, (0, 1, 2))
    direction = direction[:, order]
    return replace(
        phantom,
        voxels=np.ascontiguousarray(voxels.transpose(order)),
        spacing_mm=tuple(phantom.spacing_mm[axis] for axis in order),
        direction=direction,
        truth=replace(phantom.truth, labels=labels.transpose(order)),
    )


WAYS = [("HFS", "left"), *zip((*ORIENTATIONS, "coronal", "sagittal"), itertools.cycle(("right", "left")))]


class Series:
    """The files of a phantom, sent in no order, as the worker sees them."""

    def __init__(self, phantom: Any, folder: Path, body_part: str) -> None:
        paths = write_phantom(folder, phantom)
        self.paths = [paths[i] for i in np.random.default_rng(4).permutation(len(paths))]
        plan = plan_volume([header for path in self.paths for header in read_frame_headers(path)])
        voxels = np.zeros(plan.shape, plan.dtype)
        for path, slots in plan.slots_by_path().items():
            decode_into(path, slots, voxels)
        self.volume = Volume(voxels, plan.geometry, plan.frames, plan.modality, {"BodyPartExamined": body_part})
        self.sources = [read_header_dataset(path) for path in self.paths]

    def segmentation(self, output: MachineOutput) -> hd.seg.Segmentation:
        (label_map,) = output.label_maps
        made = make_segmentation(label_map, sources=self.sources, frames=self.volume.frames, provenance=PROVENANCE)
        return hd.seg.segread(as_file(made))

    def report(self, output: MachineOutput, seg: hd.seg.Segmentation) -> hd.sr.Comprehensive3DSR:
        (label_map,) = output.label_maps
        made = make_measurement_report(
            output,
            sources=self.sources,
            frames=self.volume.frames,
            segmentations=[SegmentationReference(label_map, seg)],
            provenance=PROVENANCE,
        )
        return hd.sr.srread(as_file(made))


def as_file(ds: Dataset) -> BytesIO:
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return BytesIO(stream.getvalue())


def x_of_segment(seg: hd.seg.Segmentation, number: int) -> np.ndarray:
    """Return the patient's x of each voxel of a segment, by the SEG alone."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    found = []
    for group, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            to_patient = hd.spatial.PixelToReferenceTransformer(
                group.PlanePositionSequence[0].ImagePositionPatient, orientation, spacing
            )
            rows, columns = np.nonzero(plane)
            found.append(to_patient(np.stack([columns, rows], axis=1))[:, 0])
    return np.concatenate(found)


def written(png: Image.Image, place: tuple[int, int], anchor: str) -> str:
    """Read the letter that is written in yellow at a place: the one that covers the same pixels."""
    font = ImageFont.truetype(str(FONT_FOLDER / "truetype/dejavu/DejaVuSans.ttf"), 20)
    yellow = np.all(np.asarray(png.convert("RGB")) == YELLOW, axis=2)

    def likeness(letter: str) -> float:
        other = Image.new("RGB", png.size)
        ImageDraw.Draw(other).text(place, letter, font=font, fill=YELLOW, anchor=anchor, stroke_width=2, stroke_fill=0)
        alone = np.all(np.asarray(other) == YELLOW, axis=2)
        x, y = place
        near = np.s_[max(y - 24, 0) : y + 24, max(x - 24, 0) : x + 24]
        return float((yellow[near] & alone[near]).sum() / (yellow[near] | alone[near]).sum())

    return max("RLAPHF", key=likeness)


def letters_left_and_right(png: Image.Image, picture_px: tuple[int, int]) -> tuple[str, str]:
    """Read the letters at the middle of the left and right edge; the picture stands below a header of 48 lines."""
    width, height = picture_px
    left, middle = (png.width - width) // 2, (48 + 48 + height) // 2
    return written(png, (left + 8, middle), "lm"), written(png, (left + width - 8, middle), "rm")


def seen_at(png: Image.Image, colour: tuple[int, int, int]) -> float:
    """Return the mean column of an outline of this colour, as part of the picture's width."""
    _, columns = np.nonzero(np.all(np.asarray(png.convert("RGB"))[48:-80] == colour, axis=2))
    return float(columns.mean() / png.width)


def assert_shown_on_its_side(volume: Volume, output: MachineOutput, window: Any, number: int, side: str) -> None:
    """Draw the frame that shows most of a segment: its outline must stand at the letter of its side."""
    (label_map,) = output.label_maps
    across = int(np.abs(volume.geometry.direction[0]).argmax())
    if across != 2:  # right and left are not across the picture
        return
    frame = int((label_map.labels == number).sum(axis=(1, 2)).argmax())
    png = Image.open(BytesIO(draw_key_slice(volume, KeyFrame(frame, "x"), label_maps=[label_map], window=window)))
    height_mm, width_mm = (volume.voxels.shape[axis] * volume.geometry.spacing_mm[axis] for axis in (1, 2))
    scale = 768 / max(height_mm, width_mm)
    letters = letters_left_and_right(png, (round(width_mm * scale), round(height_mm * scale)))
    assert set(letters) == {"R", "L"}
    segment = next(each for each in label_map.segments if each.number == number)
    nearer = letters[0] if seen_at(png, segment.colour) < 0.5 else letters[1]
    assert nearer == side[0].upper()


def sides_in_report(sr: hd.sr.Comprehensive3DSR) -> dict[str, str]:
    """Return the volume that the report gives by the laterality code of its finding site."""
    found = {}
    for group in sr.content.get_volumetric_roi_measurement_groups():
        for site in group.finding_sites:
            if site.laterality is not None:
                (volume,) = (m.value for m in group.get_measurements() if m.name.value == "118565006")
                found[site.laterality.value] = float(volume)
    return found


@pytest.fixture
def chest(tmp_path) -> Callable[[str, str], tuple[Series, MachineOutput]]:
    async def judged(way: str, side: str) -> tuple[Series, MachineOutput]:
        mass = Ball((SIDES[side] * 82.0, 0.0, 205.0), 18.0)
        phantom = chest_phantom(slices=50, rows=112, lesion=(mass,), orientation=way if way in ORIENTATIONS else "HFS")
        series = Series(as_taken(phantom, way), tmp_path, "CHEST")
        machine = LungCt(load_manifests(MODELS)["lung-ct"])
        return series, await machine.infer(series.volume, test_lung_ct_machine.AlgorithmAsModel(), lambda share: None)

    return judged


@pytest.mark.parametrize(("way", "side"), WAYS)
async def test_the_side_of_a_lung_and_of_a_mass_is_the_patient_s_in_every_output(chest, way, side):
    series, output = await chest(way, side)

    seg = series.segmentation(output)
    sr = series.report(output, seg)

    by_code = {}
    for segment in seg.SegmentSequence:
        modifiers = segment.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence") or []
        by_code.update({modifier.CodeValue: int(segment.SegmentNumber) for modifier in modifiers})
    assert (x_of_segment(seg, by_code[RIGHT]) < 0).all()
    assert (x_of_segment(seg, by_code[LEFT]) > 0).all()
    values = output.values
    assert values["right_lung_volume_ml"] > 1.08 * values["left_lung_volume_ml"]
    assert sides_in_report(sr) == {RIGHT: values["right_lung_volume_ml"], LEFT: values["left_lung_volume_ml"]}
    assert f"right {values['right_lung_volume_ml']:.0f} mL" in output.summary
    assert any(key.title.startswith("Largest dense part") and key.title.endswith(side) for key in output.key_frames)
    for number, name in ((1, "right"), (2, "left")):
        assert_shown_on_its_side(series.volume, output, LUNG_WINDOW, number, name)


@pytest.mark.parametrize(("way", "side"), WAYS)
async def test_the_side_of_blood_and_the_way_of_the_midline_are_the_patient_s_in_every_output(tmp_path, way, side):
    other = {"right": "left", "left": "right"}[side]
    phantom = head_phantom(
        slices=32,
        rows=112,
        blood=({"left": LEFT_BLOOD, "right": RIGHT_BLOOD}[side],),
        shift_left_mm=-7.0 * SIDES[side],
        orientation=way if way in ORIENTATIONS else "HFS",
    )
    series = Series(as_taken(phantom, way), tmp_path, "HEAD")

    machine = HeadCt(load_manifests(MODELS)["head-ct"])
    output = await machine.infer(series.volume, test_head_ct_machine.AlgorithmAsModel(), lambda share: None)
    seg = series.segmentation(output)
    sr = series.report(output, seg)

    assert f"({side})" in output.summary
    assert f"to the {other}" in output.summary
    assert (SIDES[side] * x_of_segment(seg, 2) > 0).all()
    said = [str(item.TextValue) for item in sr.ContentSequence if item.ValueType == "TEXT"]
    assert output.summary in said
    tracked = {group.tracking_identifier for group in sr.content.get_image_measurement_groups()}
    assert f"Lesion 1 ({side}): volume" in tracked
    assert_shown_on_its_side(series.volume, output, BRAIN_WINDOW, 2, side)
