"""The common Python client of DICOMweb, unmodified, stores instances."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session
from pydicom.uid import generate_uid

from tests.contract.addresses import url

pytestmark = pytest.mark.stack

MIB = 1024 * 1024


def read(instance: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(instance))


@pytest.fixture
def store(hospital, make_series):
    """A client with a session of its own, which sends the token."""
    session = create_session()
    session.headers.update(hospital.headers)
    return DICOMwebClient(url(hospital.stack, "/studies").removesuffix("/studies"), session=session)


@pytest.fixture
def knee(make_series):
    return make_series(body_part="KNEE", study_description="CT knee")


def test_one_instance_is_stored_and_referenced(store, knee):
    ds = read(knee.instances[0])

    stored = store.store_instances([ds])

    (item,) = stored.ReferencedSOPSequence
    assert item.ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert item.ReferencedSOPClassUID == ds.SOPClassUID
    assert "FailedSOPSequence" not in stored


def test_a_whole_study_sent_to_its_own_address_in_chunks_of_any_size_is_stored(store, knee, hospital):
    store.set_chunk_size(65_537)

    stored = store.store_instances([read(each) for each in knee.instances], study_instance_uid=knee.study)
    again = hospital.upload([knee.instances[0]])

    assert len(stored.ReferencedSOPSequence) == len(knee.instances)
    assert stored.RetrieveURL.endswith(f"/studies/{knee.study}")
    assert again["detailed_info"] == [
        {"SeriesInstanceUID": knee.uid, "NumberOfSeriesRelatedInstances": len(knee.instances)}
    ]


@pytest.mark.parametrize("chunk_bytes", [MIB, 128 * MIB], ids=["in chunks", "in one piece"])
def test_an_instance_of_sixty_megabytes_is_stored(store, knee, chunk_bytes):
    ds = read(knee.instances[0])
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.Rows = ds.Columns = 5_500
    ds.PixelData = np.zeros((5_500, 5_500), "<u2").tobytes()
    store.set_chunk_size(chunk_bytes)

    stored = store.store_instances([ds])

    assert len(ds.PixelData) > 60_000_000
    assert [item.ReferencedSOPInstanceUID for item in stored.ReferencedSOPSequence] == [ds.SOPInstanceUID]


def test_some_refused_are_read_from_the_answer_by_the_client(store, knee):
    good, conflicting = read(knee.instances[0]), read(knee.instances[1])
    store.store_instances([read(knee.instances[1])])
    conflicting.WindowCenter = "40"

    stored = store.store_instances([good, conflicting])

    (failed,) = stored.FailedSOPSequence
    assert failed.FailureReason == 0x0111
    assert failed.ReferencedSOPInstanceUID == conflicting.SOPInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in stored.ReferencedSOPSequence] == [good.SOPInstanceUID]


def test_none_stored_is_the_409_that_the_client_raises(store, knee):
    with pytest.raises(requests.HTTPError) as refused:
        store.store_instances([read(knee.instances[0])], study_instance_uid=generate_uid())

    assert refused.value.response.status_code == 409
    assert refused.value.response.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]


def test_a_client_without_a_token_is_told_so(hospital, knee):
    client = DICOMwebClient(url(hospital.stack, "/studies").removesuffix("/studies"))

    with pytest.raises(requests.HTTPError) as refused:
        client.store_instances([read(knee.instances[0])])

    assert refused.value.response.status_code == 401
