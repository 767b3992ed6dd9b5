"""Decoding into modality units, whatever the encoding."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from radbus_dicom.decoding import decode_into
from radbus_dicom.errors import PixelsNotDecodable
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def test_stored_values_become_hounsfield_units_in_geometric_order(write_series, load_volume):
    paths = write_series([(0, 0, 3), (0, 0, 2), (0, 0, 1)])

    volume = load_volume(paths)

    assert volume.voxels.dtype == np.int16
    assert volume.voxels[:, 0, 0].tolist() == [300 - 1024, 200 - 1024, 100 - 1024]


@pytest.mark.parametrize("uid", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_gives_the_same_voxels(tmp_path, instance, as_file, load_volume, uid):
    ds = instance()
    expected = np.frombuffer(ds.PixelData, np.uint16).reshape(12, 10).astype(int) - 1024
    if uid == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds["PixelData"].VR = "OW"
    path = tmp_path / "a.dcm"
    path.write_bytes(as_file(ds, uid))

    volume = load_volume([path])

    assert np.array_equal(volume.voxels[0], expected)


def test_rle_gives_the_same_voxels(tmp_path, instance, load_volume):
    ds = instance()
    expected = np.frombuffer(ds.PixelData, np.uint16).reshape(12, 10).astype(int) - 1024
    ds.compress(RLELossless, np.frombuffer(ds.PixelData, np.uint16).reshape(12, 10), generate_instance_uid=False)
    path = tmp_path / "a.dcm"
    ds.save_as(path, enforce_file_format=True)

    volume = load_volume([path])

    assert np.array_equal(volume.voxels[0], expected)


def test_fractional_slopes_give_float32(write_series, load_volume):
    volume = load_volume(write_series([(0, 0, 0)], RescaleSlope=0.5, RescaleIntercept=0))

    assert volume.voxels.dtype == np.float32
    assert volume.voxels[0, 0, :2].tolist() == [50.0, 50.5]


def test_ct_padding_below_int16_is_saturated(write_series, load_volume):
    pixels = np.full((12, 10), -32768, np.int16).tobytes()

    volume = load_volume(write_series([(0, 0, 0)], PixelRepresentation=1, BitsStored=16, HighBit=15, PixelData=pixels))

    assert set(volume.voxels.ravel().tolist()) == {-32768}


def test_frames_of_an_enhanced_instance_are_sorted_by_their_own_positions(tmp_path, instance, as_file, load_volume):
    ds = instance(SOPClassUID=ENHANCED_CT, NumberOfFrames=3)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(ds, keyword)
    ds.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.5, 0.5]
    groups = []
    for z in (2, 0, 1):
        group = Dataset()
        group.PlanePositionSequence = Sequence([Dataset()])
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, z]
        group.PixelValueTransformationSequence = Sequence([Dataset()])
        transformation = group.PixelValueTransformationSequence[0]
        transformation.RescaleIntercept, transformation.RescaleSlope = 1000 * z, 1
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.PixelData = np.repeat(np.array([2, 0, 1], np.uint16), 120).tobytes()
    path = tmp_path / "enhanced.dcm"
    path.write_bytes(as_file(ds))

    volume = load_volume([path])

    assert volume.voxels[:, 0, 0].tolist() == [0, 1001, 2002]
    assert [frame.frame_number for frame in volume.frames] == [2, 3, 1]


def test_pixels_that_no_decoder_can_read_are_a_typed_error_without_values(tmp_path, instance, as_file):
    path = tmp_path / "a.dcm"
    path.write_bytes(as_file(instance()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.53".ljust(20)[:20]))
    plan = plan_volume(read_frame_headers(path))
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(PixelsNotDecodable):
        decode_into(path, plan.slots_by_path()[path], np.zeros(plan.shape, np.int16))
