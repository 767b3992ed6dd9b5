"""The machine `lung-ct` around its model: values, segments, findings, key frames and what it leaves unsaid."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from lung_ct_algorithm import segment
from radbus_machines.ct import is_sharp_kernel
from radbus_machines.lung_ct import NOT_LOOKED_FOR, LungCt, LungCtError
from radbus_machines.manifest import load_manifests
from radbus_machines.types import Frame, Geometry, MachineOutput, Volume
from radbus_testing.phantom import ChestPhantom, chest_phantom
from radbus_testing.phantom_anatomy import HILAR_MASS

MODELS = Path(__file__).parents[3] / "triton_models"
PHANTOM = chest_phantom(slices=110, rows=112)


class AlgorithmAsModel:
    """The model's algorithm without Triton."""

    async def infer(self, inputs, output_shapes):
        direction = inputs["DIRECTION"].reshape(3, 3)
        result = segment(inputs["VOLUME"], tuple(map(float, inputs["SPACING_MM"])), direction)
        remarks = [asdict(remark) for remark in result.remarks]
        assert result.labels.shape == output_shapes["LABELS"][0]
        return {"LABELS": result.labels, "REMARKS": np.array([json.dumps(remarks).encode()], object)}


class ModelThatSays:
    """A model that finds the phantom's true lungs and makes the remarks it is told to."""

    def __init__(self, remarks: object, phantom: ChestPhantom = PHANTOM) -> None:
        self._remarks, self._labels = remarks, phantom.truth.labels

    async def infer(self, inputs, output_shapes):
        return {"LABELS": self._labels, "REMARKS": np.array([json.dumps(self._remarks).encode()], object)}


def volume_of(phantom: ChestPhantom, **attributes: object) -> Volume:
    frames = tuple(
        Frame(f"2.25.{k + 1}", "1.2.840.10008.5.1.4.1.1.2", (0.0, 0.0, float(k))) for k in range(len(phantom.voxels))
    )
    geometry = Geometry(phantom.spacing_mm, phantom.origin_mm, phantom.direction)
    return Volume(phantom.voxels, geometry, frames, "CT", attributes)


def machine() -> LungCt:
    return LungCt(load_manifests(MODELS)["lung-ct"])


async def infer(volume: Volume, model: object = None) -> MachineOutput:
    return await machine().infer(volume, model or ModelThatSays([]), lambda share: None)


async def test_a_chest_gives_volumes_density_and_index_near_the_truth_with_both_lungs_as_segments():
    truth, shares = PHANTOM.truth, []

    output = await machine().infer(volume_of(PHANTOM), AlgorithmAsModel(), shares.append)

    assert output.usable
    assert output.values["right_lung_volume_ml"] == pytest.approx(truth.right_lung_volume_ml, rel=0.02)
    assert output.values["left_lung_volume_ml"] == pytest.approx(truth.left_lung_volume_ml, rel=0.02)
    assert output.values["emphysema_index"] == pytest.approx(truth.emphysema_index_percent, abs=1.0)
    assert output.values["mean_lung_density_hu"] == pytest.approx(truth.mean_lung_density_hu, abs=5)
    assert {"left_emphysema_index", "right_emphysema_index", "total_lung_volume_ml"} <= output.values.keys()
    assert [segment.name for segment in output.label_maps[0].segments][:2] == ["Right lung", "Left lung"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


async def test_every_number_is_a_measurement_with_unit_and_definition():
    output = await infer(volume_of(PHANTOM))

    numbers = {name: value for name, value in output.values.items() if not isinstance(value, bool)}
    assert {m.name: m.value for m in output.measurements} == numbers
    assert {m.unit for m in output.measurements} == {"mL", "[hnsf'U]", "%"}
    assert all(m.definition for m in output.measurements)


async def test_emphysema_is_said_present_from_five_percent_on_and_not_below():
    without = chest_phantom(slices=60, rows=96, emphysema_fraction=0.01)

    above, below = await infer(volume_of(PHANTOM)), await infer(volume_of(without), ModelThatSays([], without))

    assert above.findings[0].present is True
    assert below.findings[0].present is False


@pytest.mark.parametrize(
    "attributes",
    [{"ContrastBolusAgent": "IOMERON 350"}, {"ConvolutionKernel": "B70f"}, {"ConvolutionKernel": ["Bl57f", "3"]}],
)
async def test_the_index_is_left_unsaid_where_header_values_make_it_incomparable(attributes):
    output = await infer(volume_of(PHANTOM, **attributes))

    assert output.usable
    assert not [name for name in output.values if name.endswith("emphysema_index")]
    assert "total_lung_volume_ml" in output.values
    assert output.findings[0].present is None
    assert any("emphysema index is not given" in limit for limit in output.limits)


@pytest.mark.parametrize("agent", [None, "", "NONE", "no"])
async def test_an_empty_contrast_agent_is_no_contrast(agent):
    output = await infer(volume_of(PHANTOM, ContrastBolusAgent=agent))

    assert "emphysema_index" in output.values


async def test_thick_slices_keep_the_index_with_a_caveat():
    output = await infer(volume_of(PHANTOM), ModelThatSays([{"code": "thick_slices", "text": "Slices are thick."}]))

    assert "emphysema_index" in output.values
    assert "Slices are thick." in output.limits
    assert output.limits[-1] == NOT_LOOKED_FOR


async def test_no_chest_is_not_usable_and_has_no_values():
    remark = {"code": "not_a_chest", "text": "No lungs were found."}

    output = await infer(volume_of(PHANTOM), ModelThatSays([remark]))

    assert not output.usable
    assert not output.values
    assert "No lungs were found." in output.summary


async def test_another_modality_is_not_usable_and_the_model_is_not_asked():
    ct = volume_of(PHANTOM)
    volume = Volume(ct.voxels, ct.geometry, ct.frames, "MR")

    output = await infer(volume, model=object())

    assert not output.usable


async def test_a_missing_lung_has_a_volume_of_nothing_and_no_density():
    labels = np.where(PHANTOM.truth.labels == 2, 0, PHANTOM.truth.labels)
    model = ModelThatSays([{"code": "one_lung", "text": "Hardly any left lung."}])
    model._labels = labels

    output = await infer(volume_of(PHANTOM), model)

    assert output.values["left_lung_volume_ml"] == 0
    assert "left_mean_lung_density_hu" not in output.values
    assert "Hardly any left lung." in output.summary


async def test_key_frames_go_from_base_to_apex_and_show_where_attenuation_is_lowest():
    output = await infer(volume_of(PHANTOM))

    titles = [key.title for key in output.key_frames]
    assert [key.frame for key in output.key_frames] == sorted(key.frame for key in output.key_frames)
    assert titles[0] == "Lungs, base"
    assert any(title.startswith("Most low attenuation") for title in titles)
    assert 5 <= len(titles) <= 6


async def test_the_largest_dense_part_within_the_lungs_is_a_key_frame_and_said():
    phantom = chest_phantom(slices=60, rows=160, lesion=(HILAR_MASS,))

    output = await infer(volume_of(phantom), AlgorithmAsModel())

    place = next(key for key in output.key_frames if key.title.startswith("Largest dense part"))
    assert place.title.endswith("right")
    assert abs(place.frame * phantom.spacing_mm[0] + phantom.origin_mm[2] - HILAR_MASS.centre_mm[2]) < 15
    assert "A dense part of about" in output.summary


async def test_a_frame_that_a_remark_points_to_is_a_key_frame_with_its_reason():
    remark = {"code": "collapsed_or_consolidated", "text": "Small.", "frame": 40, "title": "Lung is missing here"}

    output = await infer(volume_of(PHANTOM), ModelThatSays([remark]))

    assert (40, "Lung is missing here") in {(key.frame, key.title) for key in output.key_frames}
    assert [key.frame for key in output.key_frames] == sorted({key.frame for key in output.key_frames})


@pytest.mark.parametrize("frame", [-1, 110, "7", 1.5])
async def test_a_remark_that_points_to_no_frame_of_the_volume_is_an_error(frame):
    remark = {"code": "dense_part", "text": "Dense.", "frame": frame, "title": "Dense"}

    with pytest.raises(LungCtError, match="frames from 0 to 109"):
        await infer(volume_of(PHANTOM), ModelThatSays([remark]))


async def test_voxels_of_floating_point_give_the_same_as_whole_numbers():
    whole = volume_of(PHANTOM)
    floating = Volume(whole.voxels.astype(np.float32), whole.geometry, whole.frames, "CT")

    first, second = await infer(whole), await infer(floating)

    assert first.values == second.values


@pytest.mark.parametrize("remarks", [{"code": "x"}, [{"code": "x"}], ["x"], 7])
async def test_remarks_that_are_no_list_of_code_and_text_are_an_error(remarks):
    with pytest.raises(LungCtError, match="JSON list"):
        await infer(volume_of(PHANTOM), ModelThatSays(remarks))


@pytest.mark.parametrize(
    ("name", "sharp"),
    [
        *(
            (name, False)
            for name in ("STANDARD", "SOFT", "B", "B31f", "Br40d", "FC08", "FC26", "FC43", "FC64", "FC68", "")
        ),
        *((name, True) for name in ("LUNG", "BONE", "D", "YA", "B70f", "Br59", "FC30", "FC51", "FC81")),
    ],
)
def test_kernels_are_sharp_by_their_makers_names(name, sharp):
    assert is_sharp_kernel(name) is sharp


async def test_remarks_on_the_patient_are_values_that_conditions_can_ask_for():
    said = [{"code": code, "text": "Said."} for code in ("one_lung", "dense_part", "thick_slices")]

    output = await infer(volume_of(PHANTOM), ModelThatSays(said))

    assert {name: value for name, value in output.values.items() if isinstance(value, bool)} == {
        "one_lung": True,
        "collapsed_or_consolidated": False,
        "dense_part": True,
        "dent_at_wall": False,
        "gas_outside_lungs": False,
    }
