"""Key slices, the report and the archives: what is on them, and what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from radbus_dicom.derived.archives import make_npz, output_json
from radbus_dicom.derived.key_slices import default_window, draw_key_slice, orientation_letters
from radbus_dicom.derived.lettering import drawing_order, find_lettering
from radbus_dicom.derived.report_pdf import (
    KeyImage,
    PatientFacts,
    ReportContent,
    make_report_pdf,
    readable_person_name,
)
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.tones import Window
from radbus_machines.types import Code, Finding, Geometry, KeyFrame, MachineOutput, Measurement

CODE = Code("1", "SCT", "one")
MEASUREMENT = Measurement("volume", "Lung volume", 4321.0, "mL", CODE, "Sum of the voxels of both lungs.")


@pytest.fixture
def volume(write_series, load_volume):
    return load_volume(write_series([(0, 0, z) for z in range(3)]))


def test_a_key_slice_has_the_physical_aspect_ratio(volume):
    plain = Image.open(BytesIO(draw_key_slice(volume, KeyFrame(1, "Title"))))
    stretched = replace(volume, geometry=replace(volume.geometry, spacing_mm=(1.0, 1.5, 0.75)))

    tall = Image.open(BytesIO(draw_key_slice(stretched, KeyFrame(1, "Title"))))

    assert plain.format == "PNG"
    assert plain.width == 768  # 10 columns of 0.75 mm are longer than 12 rows of 0.5 mm
    assert tall.width == 420  # 7.5 of 18 mm is 320 pixels, and the lettering needs 420


def test_labels_are_drawn_in_their_segment_s_colour_with_a_legend(volume, label_map):
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[1, 3:8, 3:8] = 1

    picture = np.asarray(
        Image.open(BytesIO(draw_key_slice(volume, KeyFrame(1, "Title"), label_maps=[label_map(labels)])))
    )

    assert (picture == (0, 200, 0)).all(axis=2).sum() > 1000  # contour and legend, full colour
    assert not (picture == (200, 60, 0)).all(axis=2).any()


def test_orientation_letters_follow_the_patient(volume):
    assert orientation_letters((1, 0, 0)) == "L"
    assert orientation_letters((0, -1, 0)) == "A"
    assert orientation_letters((0, 0.1, -0.99)) == "F"
    assert orientation_letters((0.8, 0.6, 0)) == "LP"


def test_the_default_window_is_the_series_own_then_one_for_its_modality(volume):
    own = replace(volume, attributes={"WindowCenter": [-600.0, 40.0], "WindowWidth": 1500.0})

    assert default_window(own) == Window(-600.0, 1500.0)
    assert default_window(volume) == Window(40.0, 400.0)
    assert default_window(replace(volume, modality="MR")).width > 1


def test_a_report_is_one_page_and_the_same_bytes_again(volume, provenance):
    png = draw_key_slice(volume, KeyFrame(1, "Title"))
    content = ReportContent(
        title="Chest CT",
        patient=PatientFacts("Müller^Jürgen=山田^太郎", "<b>&amp;</b>", "19700101", "F", "20260102", "A1", "Δοκιμή"),
        summary="Both lungs were found.",
        provenance=provenance,
        measurements=(MEASUREMENT,) * 40,
        findings=(Finding("e", True, "Emphysema."), Finding("n", None, "Nodules: slices too thick.")),
        key_images=(KeyImage("Lungs", png),) * 6,
        limits=("Slices are thick.",),
    )

    pdf = make_report_pdf(content)

    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") == 1
    assert pdf == make_report_pdf(content)


def test_a_report_shows_the_weightiest_key_images_in_their_order_and_each_definition_once(volume, provenance, text_of):
    weights = (0, 1, 0, 2, 1, 1)
    titles = [f"Image {n} of weight {weight}" for n, weight in enumerate(weights)]
    png = draw_key_slice(volume, KeyFrame(1, "Title"))
    content = ReportContent(
        title="Chest CT",
        patient=PatientFacts(),
        summary="Done.",
        provenance=provenance,
        measurements=(MEASUREMENT, replace(MEASUREMENT, title="Other side")),
        key_images=tuple(KeyImage(title, png, weight) for title, weight in zip(titles, weights, strict=True)),
    )

    text = text_of(make_report_pdf(content))

    assert [n for n, title in enumerate(titles) if title in text] == [1, 3, 4, 5]
    assert [text.index(titles[n]) for n in (1, 3, 4, 5)] == sorted(text.index(titles[n]) for n in (1, 3, 4, 5))
    assert text.count(MEASUREMENT.definition) == 1


def test_characters_without_a_font_are_replaced_and_markup_is_escaped():
    bare = find_lettering(Path("/nowhere"))

    assert bare.markup("<i>é</i> 山") == '<font name="radbus-Vera">&lt;i&gt;é&lt;/i&gt; ?</font>'


def test_right_to_left_text_is_put_in_drawing_order():
    assert drawing_order("abc") == "abc"
    assert drawing_order("ID שלום 7") == "ID םולש 7"
    assert drawing_order("باب") == "\ufe8f\ufe8e\ufe91"  # beh initial, alef final, beh isolated: from the right


def test_person_names_are_written_as_people_write_them():
    assert readable_person_name("Doe^Jane^M^Dr.") == "Doe, Dr. Jane M"
    assert readable_person_name("Yamada^Tarou=山田^太郎") == "Yamada, Tarou (山田, 太郎)"
    assert readable_person_name("") == ""


def test_the_npz_holds_the_labels_and_where_they_lie_and_is_the_same_again(label_map):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6), dtype=np.uint8)
    geometry = Geometry((3.0, 0.5, 0.75), (1.0, 2.0, 3.0), np.eye(3))

    archive = make_npz(label_map(labels), geometry)

    with np.load(BytesIO(archive), allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["direction", "notice", "origin_mm", "segmentation", "spacing_mm"]
        assert arrays["segmentation"].dtype == np.uint8
        assert np.array_equal(arrays["segmentation"], labels)
        assert arrays["spacing_mm"].tolist() == [3.0, 0.5, 0.75]
        assert "Research use only" in str(arrays["notice"])
    assert archive == make_npz(label_map(labels), geometry)


def test_the_output_json_holds_all_but_the_arrays(label_map, provenance):
    output = MachineOutput(
        summary="Done.",
        values={"lung_volume_ml": 4321.0, "usable": True},
        label_maps=(label_map(np.zeros((1, 2, 2), np.uint8)),),
        measurements=(MEASUREMENT,),
        limits=("Thick slices.",),
    )

    content = json.loads(output_json(output, provenance=provenance, remarks=("A remark.",)))

    assert content["values"] == {"lung_volume_ml": 4321.0, "usable": True}
    assert content["label_maps"][0]["segments"][0]["name"] == "Left lung"
    assert content["provenance"]["machine_version"] == "1.2.0"
    assert content["disclaimer"] == "Research use only. Not for diagnosis."


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_no_word_for_are_refused(provenance, value):
    with pytest.raises(OutputNotValid, match="finite"):
        output_json(MachineOutput("", values={"x": value}), provenance=provenance)
