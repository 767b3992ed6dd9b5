"""The machine `head-ct` around its model: left is left however the patient lies, and what cannot be judged is said."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from head_ct_algorithm import judge
from numpy.typing import NDArray
from radbus_machines.head_ct import NOT_LOOKED_FOR, HeadCt
from radbus_machines.head_ct_result import HeadCtError
from radbus_machines.manifest import load_manifests
from radbus_machines.types import Code, Frame, Geometry, MachineOutput, Volume
from radbus_testing.head_phantom import LEFT_BLOOD, Blood, HeadPhantom, head_phantom
from radbus_testing.phantom import ORIENTATIONS

MODELS = Path(__file__).parents[3] / "triton_models"
FLIPS = [(), (0,), (1,), (2,), (0, 1, 2)]
NOTHING = {"lesions": [], "shift_left_mm": None, "shift_plane": None, "shift_points": None, "remarks": []}


class AlgorithmAsModel:
    """The model's algorithm without Triton."""

    async def infer(self, inputs, output_shapes):
        found = judge(inputs["VOLUME"], tuple(map(float, inputs["SPACING_MM"])))
        assert found.labels.shape == output_shapes["LABELS"][0]
        told = {
            "lesions": None if found.lesions is None else [{**asdict(e), "side": e.side} for e in found.lesions],
            "shift_left_mm": found.shift_left_mm,
            "shift_plane": found.shift_plane,
            "shift_points": found.shift_points,
            "remarks": [asdict(remark) for remark in found.remarks],
        }
        return {"LABELS": found.labels, "RESULT": np.array([json.dumps(told).encode()], object)}


class ModelThatSays:
    """A model that says what it is told to, of a brain that fills the volume."""

    def __init__(self, result: object) -> None:
        self._result = result

    async def infer(self, inputs, output_shapes):
        labels = np.ones(output_shapes["LABELS"][0], np.uint8)
        labels[2:4] = 2
        return {"LABELS": labels, "RESULT": np.array([json.dumps(self._result).encode()], object)}


def volume_of(phantom: HeadPhantom, flips: tuple[int, ...] = (), **attributes: object) -> Volume:
    direction = phantom.direction.copy()
    direction[:, flips] *= -1
    voxels = np.flip(phantom.voxels, flips)
    frames = tuple(
        Frame(f"2.25.{k + 1}", "1.2.840.10008.5.1.4.1.1.2", (0.0, 0.0, float(k))) for k in range(len(voxels))
    )
    return Volume(voxels, Geometry(phantom.spacing_mm, phantom.origin_mm, direction), frames, "CT", attributes)


def in_patient(
    phantom: HeadPhantom, flips: tuple[int, ...], frame: int, place: tuple[float, float]
) -> NDArray[np.float64]:
    """Return where in the patient a place of a flipped volume is."""
    index = np.array([frame, *place])
    for axis in flips:
        index[axis] = phantom.voxels.shape[axis] - 1 - index[axis]
    return phantom.origin_mm + phantom.direction @ (index * phantom.spacing_mm)


async def infer(volume: Volume, model: object = None) -> MachineOutput:
    machine = HeadCt(load_manifests(MODELS)["head-ct"])
    return await machine.infer(volume, model or AlgorithmAsModel(), lambda share: None)


def tiny(**attributes: object) -> Volume:
    frames = tuple(Frame(f"2.25.{k}", "1.2.840.10008.5.1.4.1.1.2", (0.0, 0.0, float(k))) for k in range(6))
    return Volume(
        np.zeros((6, 4, 4), np.int16), Geometry((5, 1, 1), (0, 0, 0), np.eye(3)[::-1]), frames, "CT", attributes
    )


def present(output: MachineOutput) -> dict[str, bool | None]:
    return {finding.name: finding.present for finding in output.findings}


@pytest.mark.parametrize(
    ("orientation", "flips"), [*((name, ()) for name in ORIENTATIONS), *(("HFS", flips) for flips in FLIPS[1:])]
)
async def test_left_is_left_however_the_patient_lies_and_the_series_is_sorted(orientation, flips):
    phantom = head_phantom(rows=128, slices=32, orientation=orientation, blood=(LEFT_BLOOD,), shift_left_mm=-6.0)

    output = await infer(volume_of(phantom, flips))

    assert "(left)" in output.summary
    assert "to the right" in output.summary
    assert output.values["lesion_volume_ml"] == pytest.approx(phantom.truth.blood_ml, rel=0.15)
    assert output.values["midline_shift_mm"] == pytest.approx(6.0, abs=1.2)
    (shift,) = (each for each in output.measurements if each.name == "midline_shift_mm")
    assert (shift.concept.value, shift.concept.scheme) == ("MIDLINE-SHIFT", "99RADBUS")
    (label_map,) = output.label_maps
    true = np.flip(phantom.truth.labels, flips) == 2
    found = label_map.labels == 2
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.85
    along, off = output.lines
    middle, found = (in_patient(phantom, flips, off.frame, place) for place in (off.start, off.end))
    assert along.end == off.start
    assert in_patient(phantom, flips, along.frame, along.start)[1] == pytest.approx(-80, abs=5)  # the frontal bone
    assert middle[0] == pytest.approx(0, abs=2)
    assert found[0] - middle[0] == pytest.approx(-output.values["midline_shift_mm"], abs=0.1)
    assert found[2] == pytest.approx(68, abs=15)  # beside the ventricles
    shown = {key.frame for key in output.key_frames if key.title.startswith("Hyperdense")}
    assert all(true[frame].any() for frame in shown)
    assert shown


async def test_values_for_triage_and_findings_go_together():
    phantom = head_phantom(rows=128, blood=(LEFT_BLOOD,), shift_left_mm=-8.0)

    output = await infer(volume_of(phantom))

    assert present(output) == {"hyperdense_lesion": True, "midline_shift": True}
    assert output.values["lesion_count"] == 1
    assert {m.name for m in output.measurements} <= set(output.values)


@pytest.mark.parametrize("lesions", [None, [], [{"volume_ml": 3.0, "side": "left", "plane": 3}]])
async def test_a_lesion_is_called_hyperdense_and_not_a_hemorrhage_which_density_alone_does_not_show(lesions):
    output = await infer(tiny(), ModelThatSays({**NOTHING, "lesions": lesions}))

    (code,) = (finding.code for finding in output.findings if finding.name == "hyperdense_lesion")
    assert code == Code("HYPERDENSE", "99RADBUS", "Hyperdense intracranial lesion")


async def test_a_head_without_blood_has_nothing_to_show_but_its_levels():
    output = await infer(volume_of(head_phantom(rows=128)))

    assert present(output) == {"hyperdense_lesion": False, "midline_shift": False}
    assert output.values["lesion_volume_ml"] == 0
    assert len(output.key_frames) >= 3


async def test_where_the_brain_is_cut_nothing_found_is_not_nothing_there():
    cerebellar = Blood((20.0, 45.0, 12.0), (14.0, 14.0, 10.0))
    phantom = head_phantom(rows=128, blood=(cerebellar,))
    whole, upper = volume_of(phantom), volume_of(replace(phantom, voxels=phantom.voxels[12:]))

    seen, unseen = await infer(whole), await infer(upper)

    assert present(seen)["hyperdense_lesion"] is True
    assert present(unseen)["hyperdense_lesion"] is None
    assert not {"lesion_volume_ml", "lesion_count"} & set(unseen.values)  # so that triage does not judge it either
    assert "in the imaged part of the brain" in unseen.summary
    assert any("cut below" in limit for limit in unseen.limits)
    assert (seen.limits[-1], unseen.limits[-1]) == (NOT_LOOKED_FOR, NOT_LOOKED_FOR)


async def test_slices_too_far_apart_for_blood_say_so_and_are_not_critical():
    output = await infer(volume_of(head_phantom(rows=128, slices=16)))

    assert present(output)["hyperdense_lesion"] is None
    assert not {"lesion_volume_ml", "lesion_count"} & output.values.keys()
    assert any("density was not judged" in limit for limit in output.limits)


async def test_the_shift_is_shown_with_its_way_and_drawn_on_its_frame():
    output = await infer(volume_of(head_phantom(rows=128, shift_left_mm=6.0)))

    (key,) = (each for each in output.key_frames if each.title.startswith("Ventricles"))
    assert key.title.endswith("mm to the left")
    assert {line.frame for line in output.lines} == {key.frame}
    assert output.lines[1].text.endswith("mm to the left")


async def test_a_model_that_gives_no_points_has_no_lines_drawn():
    output = await infer(tiny(), ModelThatSays({**NOTHING, "shift_left_mm": 2.0, "shift_plane": 3}))

    assert output.lines == ()
    assert output.values["midline_shift_mm"] == 2.0


@pytest.mark.parametrize(
    ("attributes", "code"),
    [({"ContrastBolusAgent": "Iohexol"}, "contrast"), ({"ConvolutionKernel": ["BONE"]}, "sharp")],
)
async def test_what_the_header_says_keeps_blood_from_being_judged(attributes, code):
    said = {**NOTHING, "lesions": [{"volume_ml": 3.0, "side": "left", "plane": 3}]}

    output = await infer(tiny(**attributes), ModelThatSays(said))

    assert present(output)["hyperdense_lesion"] is None
    assert "lesion_volume_ml" not in output.values
    assert not (output.label_maps[0].labels == 2).any()
    assert any(code in limit for limit in output.limits)


async def test_with_a_tilted_gantry_each_lesion_is_as_much_smaller_as_all_of_them_together():
    upright = tiny()
    direction = upright.geometry.direction.copy()
    direction[:, 0] = (0.0, np.sin(np.pi / 6), np.cos(np.pi / 6))
    tilted = replace(upright, geometry=replace(upright.geometry, direction=direction))
    said = {**NOTHING, "lesions": [{"volume_ml": 20.0, "side": "left", "plane": 3}]}

    straight, slanted = await infer(upright, ModelThatSays(said)), await infer(tilted, ModelThatSays(said))

    for name in ("lesion_1_volume_ml", "brain_volume_ml"):
        assert slanted.values[name] == pytest.approx(straight.values[name] * np.cos(np.pi / 6), abs=0.06)
    assert "17.3 mL" in slanted.summary


async def test_what_is_no_head_is_not_usable():
    said = {**NOTHING, "remarks": [{"code": "not_a_head", "text": "No skull."}]}

    output = await infer(tiny(), ModelThatSays(said))

    assert (output.usable, output.values, output.limits) == (False, {}, ("No skull.",))


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        {**NOTHING, "lesions": [{"side": "left"}]},
        {**NOTHING, "remarks": [1]},
        {**NOTHING, "shift_points": [[1, 2]]},
    ],
)
async def test_a_result_of_another_form_is_the_model_s_fault(said):
    with pytest.raises(HeadCtError, match="expected JSON"):
        await infer(tiny(), ModelThatSays(said))
