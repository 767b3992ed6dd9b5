"""The way of one series, from its first byte to its result, on the real parts."""

from __future__ import annotations

import io
import urllib.request
import zipfile

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from radbus_testing.phantom import chest_phantom
from radbus_testing.waiting import eventually

pytestmark = pytest.mark.stack


def download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_an_uploaded_chest_ct_gives_a_result_with_true_volumes_and_files_that_download(hospital, make_series):
    series = make_series()
    truth = series.phantom.truth

    sent = hospital.upload(series.instances)
    answer = hospital.result(series.uid)

    assert sent["series_instance_uids"] == [series.uid]
    assert sent["detailed_info"] == [{"SeriesInstanceUID": series.uid, "NumberOfSeriesRelatedInstances": 40}]
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["success"] is True
    assert body["message"] == "Results retrieved successfully!"
    assert body["usecase"] == "qct"
    assert body["triage_status"] == "Routine"
    assert body["report"] == []
    values = body["result"]["values"]["lungs"]
    assert values["right_lung_volume_ml"] == pytest.approx(truth.right_lung_volume_ml, rel=0.02)
    assert values["left_lung_volume_ml"] == pytest.approx(truth.left_lung_volume_ml, rel=0.02)
    assert values["emphysema_index"] == pytest.approx(truth.emphysema_index_percent, abs=1)
    assert values["mean_lung_density_hu"] == pytest.approx(truth.mean_lung_density_hu, abs=10)
    assert "Research use only" in body["result"]["disclaimer"]
    files = body["result"]["files"]
    assert {"seg", "rtstruct", "sc_png", "sc_key_slices", "pdf", "json", "npz"} <= set(files)
    assert all(files[kind] for kind in files)
    assert download(files["pdf"][0]).startswith(b"%PDF-")
    assert download(files["sc_png"][0]).startswith(b"\x89PNG")
    segmentation = pydicom.dcmread(io.BytesIO(download(files["seg"][0])))
    assert segmentation.StudyInstanceUID == series.study
    assert segmentation.Modality == "SEG"
    labels = [frame.SegmentIdentificationSequence[0] for frame in segmentation.PerFrameFunctionalGroupsSequence]
    right = [n for n, label in enumerate(labels) if label.ReferencedSegmentNumber == 1]
    mask = np.load(io.BytesIO(download(files["npz"][0])))["segmentation"]
    assert mask.shape == series.phantom.voxels.shape
    assert segmentation.pixel_array[right].sum() == (mask == 1).sum()
    assert (mask == 1).sum() == pytest.approx((truth.labels == 1).sum(), rel=0.02)


def test_one_trace_leads_from_the_upload_through_every_service_to_the_result(hospital, make_series):
    series = make_series()
    trace_id = hospital.post_upload(series.instances).headers["x-trace-id"]
    hospital.result(series.uid)

    def services() -> bool:
        traces = hospital.stack.layout.root / "traces"
        return {path.stem for path in traces.glob("*.jsonl") if trace_id in path.read_text()} >= {
            "ingest",
            "router",
            "scheduler",
            "worker",
            "results",
        }

    assert eventually(services, timeout_s=20, what="trace through all services")


def test_a_study_sent_by_stow_rs_by_the_common_python_client_gives_the_same_result(hospital, make_series):
    series = make_series()
    client = DICOMwebClient(hospital.url(""), headers=hospital.headers)

    stored = client.store_instances([pydicom.dcmread(io.BytesIO(each)) for each in series.instances])
    answer = hospital.result(series.uid)

    assert len(stored.ReferencedSOPSequence) == len(series.instances)
    assert "FailedSOPSequence" not in stored
    assert stored.RetrieveURL == hospital.url(f"/studies/{series.study}")
    assert answer.status_code == 200
    assert answer.json()["usecase"] == "qct"


def test_instances_sent_one_a_request_are_one_series_once_it_has_been_quiet(hospital, make_series):
    series = make_series()

    for instance in series.instances:
        hospital.upload([instance], complete=False)
    assert hospital.results(series.uid).status_code == 202
    answer = hospital.result(series.uid)

    assert answer.status_code == 200
    assert len(hospital.jobs()) == 1


def test_a_zip_of_instances_is_taken_apart_and_each_entry_is_answered(hospital, make_series):
    series = make_series()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, instance in enumerate(series.instances):
            archive.writestr(f"ct/{number}.dcm", instance)
        archive.writestr("ct/readme.txt", "not DICOM")

    answer = hospital.http.post(
        hospital.url("/upload"),
        headers={**hospital.headers, "X-Series-Complete": "true"},
        files={"study": ("study.zip", packed.getvalue(), "application/zip")},
    )

    messages = answer.json()["messages"]
    assert answer.status_code == 200
    assert messages["ct/0.dcm"]["created"] is True
    assert messages["ct/readme.txt"]["created"] is False
    assert "DICOM" in messages["ct/readme.txt"]["message"]
    assert hospital.result(series.uid).status_code == 200


def test_of_a_study_with_two_series_only_the_one_that_matches_gets_a_job(hospital, make_series):
    chest = make_series()
    knee = make_series(study=chest.study, body_part="KNEE", study_description="CT knee")

    hospital.upload([*chest.instances, *knee.instances])

    assert hospital.result(chest.uid).status_code == 200
    assert hospital.result(knee.uid).status_code == 400
    assert [job["series_instance_uids"] for job in hospital.jobs()] == [[chest.uid]]
    study = hospital.result(chest.study)
    assert study.status_code == 200
    assert study.json()["usecase"] == "qct"


def test_a_series_that_no_use_case_matches_is_answered_with_the_reason(hospital, make_series):
    series = make_series(body_part="KNEE", study_description="CT knee")

    hospital.upload(series.instances)
    answer = hospital.result(series.uid)

    body = answer.json()
    assert answer.status_code == 400
    assert body["message"] == "Use case not implemented."
    assert body["usecase"] == "not_implemented"
    assert body["result"] == {}
    assert "region" in body["debug_info"]["reason"]
    assert hospital.jobs() == []


def test_a_late_instance_makes_a_new_revision_whose_result_takes_the_place_of_the_first(hospital, make_series):
    series = make_series()
    hospital.upload(series.instances[:20])
    assert hospital.result(series.uid).status_code in (200, 206)

    hospital.upload(series.instances[20:])

    def second() -> list[dict] | None:
        found = hospital.get("/inferences", series=series.uid).json()
        return found if len(found) == 2 else None

    eventually(second, timeout_s=60, what="second inference")
    body = hospital.result(series.uid).json()
    assert body["result"]["values"]["lungs"]["right_lung_volume_ml"] == pytest.approx(
        series.phantom.truth.right_lung_volume_ml, rel=0.02
    )
    assert sorted(job["revision"] for job in hospital.jobs()) == [1, 2]


def test_the_same_study_sent_twice_is_stored_and_computed_once(hospital, make_series):
    series = make_series()
    hospital.upload(series.instances)
    first = hospital.result(series.uid).json()

    again = hospital.upload(series.instances)
    second = hospital.result(series.uid).json()

    assert all(not entry["created"] for entry in again["messages"].values())
    assert second["result"]["values"] == first["result"]["values"]
    assert [job["revision"] for job in hospital.jobs()] == [1]


def test_a_corrupt_instance_among_good_ones_is_answered_and_the_others_go_on(hospital, make_series):
    series = make_series()
    corrupt = series.instances[7][:900]

    sent = hospital.upload([*series.instances, corrupt, b"not DICOM at all"])

    assert sent["messages"]["file40"]["created"] is False
    assert sent["messages"]["file41"]["created"] is False
    assert sum(entry["created"] for entry in sent["messages"].values()) == 40
    assert hospital.result(series.uid).status_code == 200


def test_critical_is_said_when_more_of_the_lungs_is_emphysema_than_the_use_case_allows(hospital, make_series):
    series = make_series(chest_phantom(slices=40, rows=128, emphysema_fraction=0.4))

    hospital.upload(series.instances)

    assert hospital.result(series.uid).json()["triage_status"] == "Critical"


def test_images_that_allow_no_answer_are_said_to_be_so(hospital, make_sleepy):
    series = make_sleepy(1)

    hospital.upload(series.instances, source="sleepy")
    answer = hospital.result(series.uid)

    assert answer.status_code == 206
    assert answer.json()["usecase"] == "not_implemented"
    assert answer.json()["result"]["report"]


def test_a_job_that_fails_for_good_is_answered_with_its_id_and_without_hanging(hospital, make_sleepy):
    series = make_sleepy(1)

    hospital.upload(series.instances, source="broken")
    answer = hospital.result(series.uid)

    (job,) = hospital.jobs()
    assert answer.status_code == 500
    assert answer.json()["success"] is False
    assert answer.json()["job"] == job["id"]
    assert job["state"] == "failed"
    assert job["tasks"][0]["attempt"] == 2
