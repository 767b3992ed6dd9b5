"""The machine that checks an installation answers the same for all images; manifests name channels that differ."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from radbus_machines.manifest import PASS_THROUGH, MachineManifest, Runner
from radbus_machines.pass_through import PassThrough
from radbus_machines.types import Frame, Geometry, Volume


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 64, 48), (1, 1, 1)])
async def test_it_answers_five_structures_one_within_the_other_on_every_frame(shape):
    frames = tuple(Frame(f"2.25.{k + 1}", "1.2.840.10008.5.1.4.1.1.2", (0.0, 0.0, float(k))) for k in range(shape[0]))
    geometry = Geometry((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    volume = Volume(np.zeros(shape, np.int16), geometry, frames, "MR")

    output = await PassThrough(PASS_THROUGH).infer(volume, None, lambda share: None)

    names = [segment.name for label_map in output.label_maps for segment in label_map.segments]
    assert names == ["SpinalCord", "Lung_R", "Lung_L", "Heart", "Esophagus"]
    masks = [label_map.labels == label_map.segments[0].number for label_map in output.label_maps]
    assert all(mask.shape == shape and mask.any(axis=(1, 2)).all() for mask in masks)
    for outer, inner in pairwise(masks):
        assert not (inner & ~outer).any()
        assert shape[1] < 8 or inner.sum() < outer.sum()


@pytest.mark.parametrize("channels", [("ct", "CT"), ("ct/1",), ("",), ("$ct",)])
def test_channels_have_plain_names_that_differ_in_more_than_case(channels):
    with pytest.raises(ValidationError, match="channels"):
        MachineManifest(name="m", version="1", title="M", runner=Runner.PYTHON, channels=channels)
