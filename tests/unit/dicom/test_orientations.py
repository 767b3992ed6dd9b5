"""However a series was taken and sent, what is drawn of it lies in the patient where it lies in the images.

The images hold two bodies without any symmetry, drawn at known places of the patient; the label map is read off the
decoded voxels, and the objects' voxels and contours are put back into the patient by what their own headers say.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from radbus_dicom.derived.key_slices import LUNG_WINDOW
from radbus_dicom.derived.presentation_state import Drawn, make_presentation_state
from radbus_dicom.derived.rt_structure_set import Structures, make_rt_structure_set
from radbus_dicom.derived.segmentation import make_segmentation
from radbus_dicom.opening import read_header_dataset

from tests.unit.dicom.test_contours import filled

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

ROWS, COLUMNS, FRAMES = 12, 10, 6
ROW_MM, COLUMN_MM, FRAME_MM = 0.5, 0.75, 2.0
MIDDLE = np.array((12.0, -31.0, 208.0))
BODIES = (1, 2)
TILT = np.radians(20)


@dataclass(frozen=True)
class Taken:
    """How a series was taken: the cosines of its rows and columns, and the way from one image to the next."""

    orientation: tuple[float, ...]
    step: tuple[float, float, float] | None = None
    position: str = "HFS"
    sent: str = "in order"

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors of growing column, row and image."""
        right, down = np.array(self.orientation, float).reshape(2, 3)
        return np.array([right, down, np.cross(right, down) if self.step is None else self.step])


AXIAL = (1, 0, 0, 0, 1, 0)
SERIES = {
    "axial": Taken(AXIAL),
    "sagittal": Taken((0, 1, 0, 0, 0, -1)),
    "coronal": Taken((1, 0, 0, 0, 0, -1)),
    "coronal, right and left exchanged": Taken((-1, 0, 0, 0, 0, -1)),
    "oblique": Taken((0.8, 0.6, 0, -0.36, 0.48, 0.8)),
    "gantry tilted": Taken((1, 0, 0, 0, np.cos(TILT), -np.sin(TILT)), step=(0, 0, 1)),
    "gantry tilted, feet first, shuffled": Taken(
        (1, 0, 0, 0, np.cos(TILT), np.sin(TILT)), step=(0, 0, -1), position="FFS", sent="shuffled"
    ),
    "feet first": Taken(AXIAL, step=(0, 0, -1), position="FFS"),
    "prone": Taken((-1, 0, 0, 0, -1, 0), position="HFP"),
    "feet first, prone": Taken((-1, 0, 0, 0, -1, 0), step=(0, 0, -1), position="FFP"),
    "decubitus right": Taken((0, 1, 0, -1, 0, 0), position="HFDR"),
    "decubitus left": Taken((0, -1, 0, 1, 0, 0), position="HFDL"),
    "reversed": Taken(AXIAL, sent="reversed"),
    "shuffled": Taken(AXIAL, sent="shuffled"),
    "sagittal, shuffled": Taken((0, 1, 0, 0, 0, -1), sent="shuffled"),
}


def body_at(points: np.ndarray) -> np.ndarray:
    """Tell which body is at places [..., 3] of the patient: an L with a third arm up, and one to its right."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    corner = (x > -1.1) & (y > -1.1) & (z > -1.1)  # wider than two images are apart, so that each arm is seen
    ell = corner & ((x < 1.1) & (y < 1.1) | (y < 1.1) & (z < 1.1) | (x < 1.1) & (z < 1.1))
    return np.where(ell, 1, np.where((x < -1) & (y < 0) & (z < 1.2), 2, 0)).astype(np.uint8)


@dataclass(frozen=True)
class Image:
    """One source image and the places of its pixels, by the standard's equation (PS3.3 C.7.6.2.1.1)."""

    path: Path
    uid: str
    origin: np.ndarray
    places: np.ndarray

    @property
    def bodies(self) -> np.ndarray:
        return body_at(self.places)


@pytest.fixture
def taken_images(tmp_path, instance, as_file):
    """Write the images of a series that goes through the middle of the bodies."""

    def write(taken: Taken) -> list[Image]:
        right, down, onwards = taken.axes
        images = []
        rows, columns = np.mgrid[:ROWS, :COLUMNS]
        for number in range(1, FRAMES + 1):
            middle = MIDDLE + 0.2 + onwards * FRAME_MM * (number - 1 - (FRAMES - 1) / 2)
            origin = middle - right * COLUMN_MM * (COLUMNS - 1) / 2 - down * ROW_MM * (ROWS - 1) / 2
            places = origin + columns[..., None] * COLUMN_MM * right + rows[..., None] * ROW_MM * down
            ds = instance(
                number,
                ImagePositionPatient=[round(float(v), 6) for v in origin],
                ImageOrientationPatient=[round(float(v), 6) for v in taken.orientation],
                PatientPosition=taken.position,
                SliceThickness=FRAME_MM,
                PixelData=(1024 + 100 * body_at(places).astype(np.uint16)).tobytes(),
            )
            path = tmp_path / f"{number:03}.dcm"
            path.write_bytes(as_file(ds))
            images.append(Image(path, ds.SOPInstanceUID, origin, places))
        if taken.sent == "reversed":
            return images[::-1]
        return random.Random(5).sample(images, FRAMES) if taken.sent == "shuffled" else images

    return write


@pytest.fixture
def drawn(taken_images, load_volume, label_map, provenance):
    """Take a series, label its bodies by the decoded voxels, and make all objects that have places."""

    def draw(taken: Taken) -> tuple[list[Image], dict[str, Dataset]]:
        images = taken_images(taken)
        paths = [image.path for image in images]
        volume = load_volume(paths)
        bodies = label_map((volume.voxels // 100).astype(np.uint8))
        sources = [read_header_dataset(path) for path in paths]
        first = next(s for s in sources if s.SOPInstanceUID == volume.frames[0].sop_instance_uid)
        structures = Structures([bodies], volume.frames, volume.geometry)
        state = Drawn([bodies], (), volume.frames, LUNG_WINDOW)
        made = {
            "seg": make_segmentation(bodies, sources=sources, frames=volume.frames, provenance=provenance),
            "rtstruct": make_rt_structure_set(structures, source=first, provenance=provenance, model_id="lung-ct:1"),
            "gsps": make_presentation_state(state, sources=sources, provenance=provenance),
        }
        return images, {kind: stored(ds) for kind, ds in made.items()}

    return draw


def stored(ds: Dataset) -> Dataset:
    """Write and read again: values are as others will see them."""
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return dcmread(BytesIO(stream.getvalue()))


def apart_mm(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance of a point of either cloud to the other cloud."""
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def segment_points(seg: Dataset) -> dict[int, np.ndarray]:
    """Put each voxel of a SEG into the patient, with highdicom, by what the SEG says of itself alone."""
    seg = hd.seg.Segmentation.from_dataset(seg)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    points: dict[int, list[np.ndarray]] = {body: [] for body in BODIES}
    for group, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        to_patient = hd.spatial.PixelToReferenceTransformer(
            group.PlanePositionSequence[0].ImagePositionPatient, orientation, spacing
        )
        rows, columns = np.nonzero(plane)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        points[number].append(to_patient(np.stack([columns, rows], axis=1)))
    return {body: np.concatenate(each) for body, each in points.items()}


def source_points(images: list[Image]) -> dict[int, np.ndarray]:
    return {body: np.concatenate([image.places[image.bodies == body] for image in images]) for body in BODIES}


@pytest.mark.parametrize("name", SERIES)
def test_no_flip_or_half_turn_of_the_patient_leaves_the_bodies_as_they_are(taken_images, name):
    points = source_points(taken_images(SERIES[name]))

    for signs in itertools.product((1, -1), repeat=3):
        if min(signs) < 0:
            assert all(apart_mm((of_body - MIDDLE) * signs + MIDDLE, of_body) > 0.9 for of_body in points.values())


@pytest.mark.parametrize("name", SERIES)
def test_each_voxel_of_a_seg_is_at_the_place_of_its_source_voxel_on_the_image_that_it_names(drawn, name):
    images, made = drawn(SERIES[name])

    found, expected = segment_points(made["seg"]), source_points(images)

    for body in BODIES:
        assert len(found[body]) == len(expected[body]) > 20
        assert apart_mm(found[body], expected[body]) < 0.01
    by_uid = {image.uid: image for image in images}
    for group in made["seg"].PerFrameFunctionalGroupsSequence:
        image = by_uid[group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, image.origin, atol=0.01)


@pytest.mark.parametrize("name", SERIES)
def test_contours_in_the_patient_outlines_over_images_and_voxels_of_the_seg_enclose_the_same(drawn, name):
    images, made = drawn(SERIES[name])
    right, down, _ = SERIES[name].axes
    in_seg = segment_points(made["seg"])

    for body in BODIES:
        inside = []
        for image in images:
            contours = [(points - image.origin) for points in contours_on(made["rtstruct"], body, image)]
            for points in contours:
                assert np.abs(points @ np.cross(right, down)).max() < 0.01
            in_pixels = [np.stack([p @ down / ROW_MM, p @ right / COLUMN_MM], axis=1) for p in contours]
            mask = filled(in_pixels, (ROWS, COLUMNS))
            assert np.array_equal(mask, image.bodies == body)
            assert np.array_equal(filled(outlines_on(made["gsps"], body, image), (ROWS, COLUMNS)), mask)
            inside.append(image.places[mask])
        assert apart_mm(np.concatenate(inside), in_seg[body]) < 0.01


def contours_on(structure_set: Dataset, body: int, image: Image) -> list[np.ndarray]:
    """Return the contours of a body that name an image, in the patient."""
    return [
        np.array(contour.ContourData, float).reshape(-1, 3)
        for contour in structure_set.ROIContourSequence[body - 1].ContourSequence
        if contour.ContourImageSequence[0].ReferencedSOPInstanceUID == image.uid
    ]


def outlines_on(state: Dataset, body: int, image: Image) -> list[np.ndarray]:
    """Return the outlines of a body over an image, as rows and columns from its first pixel's centre (C.10.5.1.2)."""
    layers = [layer.GraphicLayer for layer in state.GraphicLayerSequence if layer.GraphicLayer != "WORDS"]
    return [
        np.array(graphic.GraphicData, float).reshape(-1, 2)[:-1, ::-1] - 0.5
        for annotation in state.GraphicAnnotationSequence
        if annotation.GraphicLayer == layers[body - 1]
        and annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.uid
        for graphic in annotation.GraphicObjectSequence
    ]
