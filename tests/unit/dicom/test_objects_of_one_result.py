"""Every object of a result says of patient, study and time what its source says, and is valid with it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from io import BytesIO
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from radbus_dicom.derived.encapsulated_pdf import make_encapsulated_pdf
from radbus_dicom.derived.measurement_report import SegmentationReference, make_measurement_report
from radbus_dicom.derived.presentation_state import Drawn, make_presentation_state
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.rt_structure_set import Structures, make_rt_structure_set
from radbus_dicom.derived.secondary_capture import Overlaid, make_secondary_captures
from radbus_dicom.derived.segmentation import Encoding, make_segmentation
from radbus_dicom.derived.sources import OF_PATIENT_AND_STUDY
from radbus_dicom.elements import dataset_of
from radbus_dicom.opening import read_header_dataset
from radbus_dicom.reading import read_header
from radbus_dicom.tones import Window
from radbus_machines.types import Code, Finding, KeyFrame, MachineOutput

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

KINDS = ("seg", "seg_labelmap", "sr", "gsps", "sc", "rtstruct", "encapsulated_pdf")
UNKNOWN_TO_DCIODVFY = {"seg_labelmap"}


def issuer(name: str) -> list[Dataset]:
    item = Dataset()
    item.LocalNamespaceEntityID = name
    return [item]


TOLD = {
    "SpecificCharacterSet": "ISO_IR 100",
    "IssuerOfPatientID": "HÔPITAL A",
    "PatientAge": "056Y",
    "PatientIdentityRemoved": "NO",
    "LossyImageCompression": "01",
    "LossyImageCompressionRatio": "10.5",
    "LossyImageCompressionMethod": "ISO_10918_1",
}


@pytest.fixture
def objects(write_series, load_volume, label_map):
    """Make the objects of one result, of a source with these elements."""

    def make(provenance: Provenance, **changes: object) -> dict[str, Dataset]:
        paths = write_series([(0, 0, z) for z in range(4)], **changes)
        volume = load_volume(paths)
        labels = np.zeros(volume.voxels.shape, np.uint8)
        labels[1:3, 3:6, 3:6] = 1
        lungs, key_frames = label_map(labels), (KeyFrame(2, "Lungs"),)
        output = MachineOutput("Fine.", findings=(Finding("f", True, "There.", Code("87433001", "SCT", "Emphysema")),))
        shared = {"sources": [read_header_dataset(path) for path in paths], "provenance": provenance}
        segs = {
            each.value: make_segmentation(lungs, frames=volume.frames, encoding=each, **shared) for each in Encoding
        }
        references = [SegmentationReference(lungs, segs["seg"])]
        overlaid = Overlaid(volume, (lungs,), key_frames, Window(0.0, 400.0))
        captures = [*make_secondary_captures(overlaid, **shared)]
        first = {"source": shared["sources"][0], "provenance": provenance}
        structures = Structures((lungs,), volume.frames, volume.geometry)
        with paths[0].open("rb") as file:
            recorded = dataset_of(read_header(file, size_bytes=paths[0].stat().st_size).elements)
        return {
            **segs,
            "sr": make_measurement_report(output, frames=volume.frames, segmentations=references, **shared),
            "gsps": make_presentation_state(
                Drawn((lungs,), key_frames, volume.frames, Window(0.0, 400.0), ()), **shared
            ),
            "sc": captures[-1],
            "rtstruct": make_rt_structure_set(structures, model_id="m", **first),
            "encapsulated_pdf": make_encapsulated_pdf(
                b"%PDF", title="Chest CT", source=recorded, provenance=provenance
            ),
        }

    return make


def read(ds: Dataset) -> Dataset:
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return dcmread(BytesIO(stream.getvalue()))


def test_all_name_patient_and_study_alike(objects, provenance):
    made = objects(provenance, **TOLD, IssuerOfAccessionNumberSequence=issuer("RÖNTGEN"))
    assert set(made) == set(KINDS)

    said = {kind: {word: read(ds).get(word) for word in OF_PATIENT_AND_STUDY} for kind, ds in made.items()}

    assert [kind for kind in KINDS if said[kind] != said["seg"]] == []
    assert said["sc"]["IssuerOfPatientID"] == "HÔPITAL A"
    assert said["sc"]["IssuerOfAccessionNumberSequence"][0].LocalNamespaceEntityID == "RÖNTGEN"
    assert (said["sc"]["PatientAge"], said["sc"]["StudyDescription"]) == ("056Y", "CT CHEST")


def test_pixels_that_were_compressed_with_loss_stay_so(objects, provenance):
    made = objects(provenance, **TOLD)

    for kind in ("seg", "sc"):
        assert read(made[kind]).LossyImageCompression == "01"
        assert read(made[kind]).LossyImageCompressionRatio == 10.5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNKNOWN_TO_DCIODVFY])
def test_all_are_valid_with_what_they_copy(objects, provenance, dciodvfy, tmp_path, kind):
    issuers = {"IssuerOfAccessionNumberSequence": issuer("RÖNTGEN")}
    half_a_trial = {"ClinicalTrialSponsorName": "Sponsor", "ClinicalTrialTimePointID": "1"}
    made = objects(provenance, **TOLD, **issuers, **half_a_trial, TimezoneOffsetFromUTC="+0100")
    path = tmp_path / "made.dcm"
    made[kind].save_as(path, enforce_file_format=True)

    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr

    assert [line for line in said.splitlines() if line.startswith("Error")] == []


MADE_AT = datetime(2026, 1, 2, 23, 30, tzinfo=UTC)
TIMES = ("InstanceCreation", "Series", "Content", "PresentationCreation", "StructureSet")


def times(ds: Dataset) -> set[str]:
    found = {f"{ds[f'{each}Date'].value}{ds[f'{each}Time'].value}" for each in TIMES if f"{each}Date" in ds}
    return found | (
        {ds.DateOfSecondaryCapture + ds.TimeOfSecondaryCapture} if "DateOfSecondaryCapture" in ds else set()
    )


@pytest.mark.parametrize(
    ("offset", "zone", "written", "claimed"),
    [
        ("+0100", "UTC", "20260103003000", "+0100"),
        ("-0330", "Europe/Zurich", "20260102200000", "-0330"),
        (None, "UTC", "20260102233000", None),
        (None, "Europe/Zurich", "20260103003000", None),
        ("CET", "Europe/Zurich", "20260103003000", None),
    ],
)
def test_times_are_those_of_the_offset_of_the_source_else_of_the_site_and_no_offset_is_claimed_for_copied_ones(
    objects, provenance, offset, zone, written, claimed
):
    made = objects(
        Provenance("job-1", "lung-ct", "1.2.0", "qct", 1, MADE_AT.astimezone(ZoneInfo(zone))),
        **({"TimezoneOffsetFromUTC": offset} if offset else {}),
    )

    for kind in KINDS:
        assert times(made[kind]) == {written}, kind
        assert (made[kind].get("TimezoneOffsetFromUTC"), made[kind].StudyTime) == (claimed, "101112"), kind


def item_of(**elements: str) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientIdentityRemoved": "YES"},
        {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "x" * 65},
        {"OtherPatientIDsSequence": [item_of(PatientID="1")]},
        {"OtherPatientIDsSequence": []},
        {"IssuerOfAccessionNumberSequence": [item_of()]},
        {"PatientIdentityRemoved": "YES", "DeidentificationMethodCodeSequence": [item_of(CodeMeaning="Basic")]},
    ],
    ids=["no method", "a long method", "half an id", "no id", "no issuer", "half a code"],
)
def test_what_a_source_has_by_halves_makes_no_object_invalid(objects, provenance, dciodvfy, tmp_path, elements):
    made, path, errors = objects(provenance, **elements), tmp_path / "made.dcm", {}

    for kind in sorted(set(KINDS) - UNKNOWN_TO_DCIODVFY):
        made[kind].save_as(path, enforce_file_format=True)
        said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr
        errors[kind] = [line for line in said.splitlines() if line.startswith("Error")]

    assert not any(errors.values()), errors
    assert len({str(read(made[kind]).get("DeidentificationMethod")) for kind in KINDS}) == 1
