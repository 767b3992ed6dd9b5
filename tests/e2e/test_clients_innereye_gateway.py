"""The public client of the inferencing API, from its ping to the structures that a clinic's system opens."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage
from radbus_storage.objects import ObjectStore
from radbus_testing.programs import settings_of
from radbus_testing.waiting import eventually

from tests.contract.innereye_gateway import FROM_REFERENCE, FatalError, Gateway, archive, hashed, re_identified

pytestmark = pytest.mark.stack

PASS_THROUGH = "PassThroughModel:1729"
STRUCTURES = ["SpinalCord", "Lung_R", "Lung_L", "Heart", "Esophagus"]


@pytest.fixture
def gateway(hospital) -> Gateway:
    """The client after its start."""
    client = Gateway(hospital.stack, hospital.token)
    client.ping()
    return client


def keys(hospital, run_id: str) -> list[str]:
    """List what the object store holds of a run."""

    async def ask() -> list[str]:
        objects = ObjectStore(settings_of(hospital.stack.environment()).objects)
        try:
            return await objects.keys(f"{hospital.institution}/runs/{run_id}/", limit=100)
        finally:
            objects.close()

    return asyncio.run(ask())


def read(instances: list[bytes]) -> list[Dataset]:
    return [pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True) for each in instances]


def contours_of(ds: Dataset) -> dict[str, list[Dataset]]:
    """Return each structure's contours by its name."""
    names = {roi.ROINumber: roi.ROIName for roi in ds.StructureSetROISequence}
    return {names[roi.ReferencedROINumber]: list(roi.get("ContourSequence", [])) for roi in ds.ROIContourSequence}


def points_of(contour: Dataset) -> np.ndarray:
    points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
    assert len(points) == contour.NumberOfContourPoints
    return points


def test_a_result_echoes_the_uploaded_values_and_has_all_that_the_clinics_system_asks_for(gateway, make_series):
    series = make_series(body_part="KNEE")
    (reference, *_) = sent = read(series.instances)
    before = datetime.now(UTC).date()

    run_id = gateway.start(PASS_THROUGH, archive({"ct": series.instances}))
    ds = pydicom.dcmread(io.BytesIO(gateway.result(run_id)))

    today = {f"{day:%Y%m%d}" for day in (before, datetime.now(UTC).date())}
    assert ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == RTStructureSetStorage
    assert ds.Modality == "RTSTRUCT"
    assert ds.StudyInstanceUID == hashed(series.study)
    assert ds.SeriesInstanceUID != hashed(series.uid)
    assert ds.SeriesDate == ds.StructureSetDate
    assert ds.SeriesDate in today
    for keyword in ("Manufacturer", "SeriesDescription", "StructureSetLabel", "StructureSetName"):
        assert ds[keyword].value, keyword
    for keyword in ("StructureSetDescription", "OperatorsName", "SeriesNumber"):
        assert ds[keyword].is_empty, keyword
    assert ds.SoftwareVersions == PASS_THROUGH
    (frame,) = ds.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (referenced,) = study.RTReferencedSeriesSequence
    frame_of_reference = hashed(reference.FrameOfReferenceUID)
    assert frame.FrameOfReferenceUID == frame_of_reference
    assert study.ReferencedSOPInstanceUID == hashed(series.study)
    assert referenced.SeriesInstanceUID == hashed(series.uid)
    instances = {hashed(each.SOPInstanceUID) for each in sent}
    assert {image.ReferencedSOPInstanceUID for image in referenced.ContourImageSequence} == instances
    assert {roi.ReferencedFrameOfReferenceUID for roi in ds.StructureSetROISequence} == {frame_of_reference}


def test_the_built_in_model_answers_five_structures_as_nested_rectangles_on_every_slice(gateway, make_series):
    series = make_series(body_part="KNEE")
    sent = {hashed(each.SOPInstanceUID): each for each in read(series.instances)}

    ds = pydicom.dcmread(io.BytesIO(gateway.result(gateway.start(PASS_THROUGH, archive({"ct": series.instances})))))

    numbers = list(range(1, len(STRUCTURES) + 1))
    assert [roi.ROIName for roi in ds.StructureSetROISequence] == STRUCTURES
    assert [roi.ROINumber for roi in ds.StructureSetROISequence] == numbers
    assert [roi.ReferencedROINumber for roi in ds.ROIContourSequence] == numbers
    assert [roi.ReferencedROINumber for roi in ds.RTROIObservationsSequence] == numbers
    assert [roi.ObservationNumber for roi in ds.RTROIObservationsSequence] == list(range(len(STRUCTURES)))
    assert {roi.RTROIInterpretedType for roi in ds.RTROIObservationsSequence} == {"ORGAN"}
    assert all("ROIInterpreter" in roi for roi in ds.RTROIObservationsSequence)
    boxes = []
    for name, contours in contours_of(ds).items():
        found = [contour.ContourImageSequence[0].ReferencedSOPInstanceUID for contour in contours]
        assert sorted(found) == sorted(sent), name
        for contour, uid in zip(contours, found, strict=True):
            points = points_of(contour)
            low, high = points.min(axis=0), points.max(axis=0)
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            assert np.allclose(points[:, 2], float(sent[uid].ImagePositionPatient[2]), atol=1e-3)
            # Every point lies on an edge of the box around them: it is a rectangle.
            assert (np.isclose(points[:, :2], low[:2]) | np.isclose(points[:, :2], high[:2])).any(axis=1).all()
        boxes.append((low[:2], high[:2]))
    pairs = list(pairwise(boxes))
    inward = all(
        (low < inner_low).all() and (inner_high < high).all() for (low, high), (inner_low, inner_high) in pairs
    )
    outward = all(
        (low > outer_low).all() and (outer_high > high).all() for (low, high), (outer_low, outer_high) in pairs
    )
    assert inward or outward


@pytest.mark.parametrize("model_id", [PASS_THROUGH, "lung-ct:1.0.0"])
def test_a_re_identified_result_is_of_the_patient_and_lies_on_the_original_images(gateway, make_series, model_id):
    series = make_series()
    originals = {str(each.SOPInstanceUID): each for each in read(series.instances)}
    reference = next(iter(originals.values()))

    run_id = gateway.start(model_id, archive({"ct": series.instances}))
    ds = re_identified(gateway.result(run_id), series.instances)

    for keyword in FROM_REFERENCE:
        assert ds.get(keyword) == reference.get(keyword), keyword
    assert ds.StudyInstanceUID == series.study
    (frame,) = ds.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == reference.FrameOfReferenceUID
    assert frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    contours = [contour for each in contours_of(ds).values() for contour in each]
    assert contours
    for contour in contours:
        image = originals[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        offset = (points_of(contour) - np.array(image.ImagePositionPatient, float))[:, :2]
        pixels = offset / np.array(image.PixelSpacing, float)[::-1]
        assert np.abs(points_of(contour)[:, 2] - float(image.ImagePositionPatient[2])).max() < 0.01
        assert (pixels >= -0.5001).all()
        assert (pixels <= np.array([image.Columns, image.Rows]) - 0.4999).all()
    written = repr(ds)
    for uid in (series.study, series.uid, reference.FrameOfReferenceUID, *originals):
        assert hashed(str(uid)) not in written


def test_the_lungs_of_a_de_identified_chest_are_outlined_where_they_are(gateway, make_series):
    series = make_series()
    truth = series.phantom.truth
    run_id = gateway.start("lung-ct:1.0.0", archive({"ct": series.instances}))

    contours = contours_of(re_identified(gateway.result(run_id), series.instances))

    slice_mm = series.phantom.spacing_mm[0]
    assert gateway.polls > 1
    volumes_ml = sorted(
        sum(_area_mm2(points_of(contour)) for contour in each) * slice_mm / 1000 for each in contours.values()
    )[-2:]
    assert volumes_ml == pytest.approx(sorted([truth.left_lung_volume_ml, truth.right_lung_volume_ml]), rel=0.15)


def test_a_bad_zip_is_started_then_under_way_then_refused_and_erased(gateway, hospital):
    run_id = gateway.start(PASS_THROUGH, b"no zip at all")

    with pytest.raises(FatalError, match=r"400.*InvalidZipFile"):
        gateway.result(run_id)

    assert eventually(lambda: not keys(hospital, run_id), timeout_s=20, what="erased upload")


def test_the_uploaded_zip_is_kept_while_it_is_needed_and_erased_once_the_run_ended(gateway, hospital, make_sleepy):
    slow = gateway.start("sleeper:1.0.0", archive({"ct": make_sleepy(4000).instances}))
    kept = keys(hospital, slow)

    with pytest.raises(FatalError, match="400"):
        gateway.result(slow)

    assert [key.rpartition("/")[2] for key in kept] == ["upload.zip"]

    def erased() -> bool:
        return not any(key.endswith("upload.zip") for key in keys(hospital, slow))

    assert eventually(erased, timeout_s=20, what="erased upload")


def test_a_wrong_secret_stops_the_client_at_its_first_ping(hospital):
    with pytest.raises(FatalError, match="license"):
        Gateway(hospital.stack, "wrong").ping()


def test_a_start_that_is_repeated_after_a_503_is_one_run_with_one_result(gateway, hospital, make_series):
    body = archive({"ct": make_series(body_part="KNEE").instances[:5]})

    first, again = gateway.start(PASS_THROUGH, body), gateway.start(PASS_THROUGH, body)

    assert first == again
    assert gateway.result(first) == gateway.result(again)
    assert [job["id"] for job in hospital.jobs()] == [first]


def _area_mm2(points: np.ndarray) -> float:
    """Give the area of a closed polygon in the transverse plane, by the shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
