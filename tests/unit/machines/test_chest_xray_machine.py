"""The machine `chest-xray` around its network: left is left however an image is stored, and limits are said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chest_xray_algorithm import look
from radbus_machines.chest_xray.limits import NOT_LOOKED_FOR
from radbus_machines.chest_xray.machine import ChestXray
from radbus_machines.manifest import load_manifests
from radbus_machines.types import Distances, MachineOutput, Volume
from radbus_testing.drawn_chest import HEART, HEART_MM, SPACING_MM, THORAX_MM, drawn_chest, filled_chest

from tests.unit.machines.chest_networks import NetworkThatSees, radiograph

MODELS = Path(__file__).parents[3] / "triton_models"
STORED = {  # how a hung image is stored whose rows and columns run towards these
    ("L", "F"): lambda image: image,
    ("R", "F"): np.fliplr,
    ("L", "H"): np.flipud,
    ("R", "H"): lambda image: np.rot90(image, 2),
    ("F", "L"): lambda image: image.T,
    ("H", "L"): lambda image: np.fliplr(image.T),
    ("F", "R"): lambda image: np.flipud(image.T),
}


class AlgorithmAsModel:
    """The model's algorithm without Triton."""

    async def infer(self, inputs, output_shapes):
        seen = [look(each[0]) for each in inputs["IMAGE"]]
        return {"MASKS": np.stack([each.masks for each in seen]), "VIEW": np.stack([each.view for each in seen])}


async def judged(volume: Volume, network: NetworkThatSees | AlgorithmAsModel | None = None) -> MachineOutput:
    machine = ChestXray(load_manifests(MODELS)["chest-xray"])
    return await machine.infer(volume, network or NetworkThatSees(), lambda share: None)


def present(output: MachineOutput) -> dict[str, bool | None]:
    return {finding.name: finding.present for finding in output.findings}


def limits(output: MachineOutput) -> str:
    return " ".join(output.limits)


@pytest.mark.parametrize("towards", STORED)
async def test_left_is_left_however_the_image_is_stored(towards):
    image = drawn_chest(opaque=True)
    stored = STORED[towards]

    output = await judged(radiograph(np.ascontiguousarray(stored(image)), towards=towards))

    assert output.values["denser_lung"] == "left"
    assert output.values["opacity_asymmetry"] > 20
    assert "left lung is brighter" in output.summary
    assert "lower zone" in next(each.text for each in output.findings if each.name == "lungs_unlike")
    assert output.values["heart_width_mm"] == pytest.approx(HEART_MM, rel=0.03)
    assert output.values["thorax_width_mm"] == pytest.approx(THORAX_MM, rel=0.03)
    (label_map,) = output.label_maps
    columns = np.arange(500)[None, :] + np.zeros((600, 1))
    hung_column = stored(columns)
    labels = label_map.labels[0]
    assert labels.shape == stored(image).shape
    assert hung_column[labels == 1].mean() < 200
    assert hung_column[labels == 2].mean() > 300
    heart = output.lines[0]
    ends = [hung_column[round(row), round(column)] for row, column in (heart.start, heart.end)]
    assert ends == pytest.approx([175, 375], abs=6)
    assert "stored with the patient's right at its right" in limits(output) or towards not in (("R", "F"), ("R", "H"))


async def test_low_values_that_are_shown_bright_are_read_so():
    image = drawn_chest()

    output = await judged(radiograph(4095 - image, inverted=True))

    assert output.usable
    assert output.values["cardiothoracic_ratio"] == pytest.approx(HEART_MM / THORAX_MM, abs=0.02)
    assert "wrong way round" not in limits(output)


async def test_an_image_whose_header_has_its_grey_values_the_wrong_way_round_is_read_as_it_looks_right_and_says_so():
    network = NetworkThatSees()

    output = await judged(radiograph(drawn_chest(), inverted=True), network)

    assert network.asked == 2
    assert output.usable
    assert output.values["cardiothoracic_ratio"] == pytest.approx(HEART_MM / THORAX_MM, abs=0.02)
    assert "wrong way round" in limits(output)


async def test_a_mirrored_image_whose_header_does_not_say_so_is_doubted():
    output = await judged(radiograph(np.fliplr(drawn_chest()), towards=None), MirroredNetwork())

    assert "may be mirrored" in limits(output)
    assert "does not say where the patient's right is" in limits(output)


class MirroredNetwork(NetworkThatSees):
    """Sees the drawn chest mirrored: the lung at the picture's left is called the right one, whosever it is."""

    async def infer(self, inputs, output_shapes):
        picture = np.ascontiguousarray(inputs["IMAGE"][..., ::-1])
        outputs = await super().infer({"IMAGE": picture}, output_shapes)
        masks = np.ascontiguousarray(outputs["MASKS"][..., ::-1])
        return {**outputs, "MASKS": masks[:, [1, 0, 2]]}


@pytest.mark.parametrize(
    ("view", "words"),
    [((0.1, 0.05, 0.85), "does not look like a chest"), ((0.05, 0.9, 0.05), "lateral"), ((0.4, 0.3, 0.3), "cannot be")],
)
async def test_what_is_no_frontal_chest_is_not_usable_and_says_why(view, words):
    output = await judged(radiograph(drawn_chest()), NetworkThatSees(view=view))

    assert (output.usable, dict(output.values), output.label_maps) == (False, {}, ())
    assert words in output.summary
    assert set(present(output).values()) == {None}
    assert output.impression == ""


async def test_a_volume_of_slices_is_not_usable():
    volume = radiograph(drawn_chest())
    slices = Volume(volume.voxels, volume.geometry, volume.frames, "CT")

    assert not (await judged(slices)).usable


def with_a_heart_of(share_of_chest: float) -> NetworkThatSees:
    row, column, height, _ = HEART
    return NetworkThatSees(heart=(row, column, height, share_of_chest * THORAX_MM / SPACING_MM / 2))


@pytest.mark.parametrize(
    ("position", "enlarged", "words"),
    [("PA", True, "above 0.5 on a PA view"), ("AP", None, "AP view"), ("", None, "PA or AP is not said")],
)
async def test_only_a_pa_view_shows_that_a_heart_is_too_wide(position, enlarged, words):
    output = await judged(radiograph(drawn_chest(), ViewPosition=position), with_a_heart_of(0.62))

    assert output.values["cardiothoracic_ratio"] == pytest.approx(0.62, abs=0.01)
    assert present(output)["enlarged_heart"] is enlarged
    assert words in next(each.text for each in output.findings if each.name == "enlarged_heart")
    assert output.values["view"] == (position or "frontal")


@pytest.mark.parametrize("position", ["PA", "AP", ""])
@pytest.mark.parametrize(
    ("ratio", "enlarged", "words"),
    [(0.40, False, "not enlarged"), (0.47, None, "too close to 0.5"), (0.53, None, "too close to 0.5")],
)
async def test_a_ratio_that_is_off_by_less_than_it_may_be_decides_nothing(position, ratio, enlarged, words):
    output = await judged(radiograph(drawn_chest(), ViewPosition=position), with_a_heart_of(ratio))

    assert output.values["cardiothoracic_ratio"] == pytest.approx(ratio, abs=0.01)
    assert present(output)["enlarged_heart"] is enlarged
    assert words in output.impression


async def test_the_view_is_read_from_its_code_where_there_is_no_word_for_it():
    coded = [{"CodeValue": "399348003", "CodingSchemeDesignator": "SCT", "CodeMeaning": "antero-posterior"}]

    output = await judged(radiograph(drawn_chest(), ViewPosition=None, ViewCodeSequence=coded))

    assert output.values["view"] == "AP"


async def test_without_pixel_spacing_nothing_is_given_in_millimetres_and_the_ratio_is():
    output = await judged(radiograph(drawn_chest(), distances=Distances.UNKNOWN))

    assert not any(each.unit == "mm" for each in output.measurements)
    assert output.values["cardiothoracic_ratio"] == pytest.approx(HEART_MM / THORAX_MM, abs=0.02)
    assert "no pixel spacing" in limits(output)
    assert {line.text for line in output.lines} == {"Heart", "Chest"}


async def test_a_lung_that_is_not_found_is_a_finding_and_no_ratio_is_made_of_the_other():
    output = await judged(radiograph(drawn_chest()), NetworkThatSees(without=frozenset({1})))

    assert output.values["lungs_found"] == 1
    assert present(output) == {"enlarged_heart": None, "lung_field_not_seen": True, "lungs_unlike": None}
    assert "left lung field was not found" in output.summary
    assert "cardiothoracic_ratio" not in output.values


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("share", "found", "shorter"), [(0.0, 2, False), (0.3, 2, True), (0.5, 2, True), (0.6, 1, False), (1.0, 1, False)]
)
async def test_a_lung_that_is_opaque_from_below_is_told_to_triage_however_much_of_it_is(side, share, found, shorter):
    output = await judged(radiograph(filled_chest(side, share)), AlgorithmAsModel())

    assert output.usable
    assert output.values["lungs_found"] == found
    assert output.values.get("shorter_lung") == (side if shorter else None)
    assert ("cardiothoracic_ratio" in output.values) is (share == 0)
    assert (f"{side} lung field was not found" in output.summary) is (found == 1)


async def test_a_heart_between_unlike_lungs_is_not_shown():
    whole, short = (
        await judged(radiograph(drawn_chest())),
        await judged(radiograph(filled_chest("left", 0.3)), AlgorithmAsModel()),
    )

    assert 3 in whole.label_maps[0].labels
    assert 3 not in short.label_maps[0].labels
    assert short.lines == ()


@pytest.mark.parametrize(("towards", "coded"), [(("L", "F"), True), (None, False)])
async def test_sides_are_coded_only_where_the_header_gives_them(towards, coded):
    output = await judged(radiograph(drawn_chest(), towards=towards))

    right, left, _ = output.label_maps[0].segments
    assert [each.laterality is not None for each in (right, left)] == [coded, coded]


@pytest.mark.parametrize("ratio", [0.40, 0.62])
@pytest.mark.parametrize("position", ["LLD", "RLD"])
async def test_a_patient_who_lies_on_a_side_is_seen_from_the_front_and_no_heart_is_called_enlarged(position, ratio):
    output = await judged(radiograph(drawn_chest(), ViewPosition=position), with_a_heart_of(ratio))

    assert output.values["view"] == "decubitus"
    assert present(output)["enlarged_heart"] is None
    assert "lies on a side" in limits(output)
    assert "calls the view lateral" not in limits(output)


async def test_where_no_lung_is_found_nothing_was_judged():
    output = await judged(radiograph(drawn_chest()), NetworkThatSees(without=frozenset({0, 1, 2})))

    assert not output.usable
    assert "No lungs" in output.summary


async def test_lungs_that_are_cut_off_at_the_side_have_no_width_of_the_chest():
    image = drawn_chest()[:, 90:]  # a part of the right lung is beyond the edge

    output = await judged(radiograph(image), NetworkThatSees(first_column=90))

    assert "cut off at the sides" in limits(output)
    assert "cardiothoracic_ratio" not in output.values
    assert present(output)["enlarged_heart"] is None


async def test_values_for_triage_and_measurements_go_together_and_the_report_has_an_impression():
    output = await judged(radiograph(drawn_chest()))

    assert {each.name for each in output.measurements} <= set(output.values)
    assert output.impression
    assert output.impression in output.summary
    assert output.limits[-1] == NOT_LOOKED_FOR
    assert present(output)["lungs_unlike"] is False
