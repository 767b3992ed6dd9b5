"""A machine for tests that does what the series' description says, most of it wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Model, Progress
from radbus_machines.types import Code, Finding, KeyFrame, LabelMap, MachineOutput, Measurement, Segment, Volume

_FOR_EVER_S = 3600
_AIR = Code("15158005", "SCT", "Air")
_SEGMENT = Segment(1, "Air", Code("123037004", "SCT", "Anatomical Structure"), _AIR, (0, 200, 255))
_WELL = MachineOutput("Nothing was looked at.", values={"share": 0.5})


class Faulty:
    """Answers, or not."""

    def __init__(self, manifest: MachineManifest) -> None:
        self._manifest = manifest

    async def infer(self, volume: Volume, model: Model, progress: Progress) -> MachineOutput:
        """Do what the series asks for."""
        way = str(volume.attributes["SeriesDescription"])
        match way:
            case "waits":
                await asyncio.sleep(_FOR_EVER_S)
            case "hangs":
                time.sleep(_FOR_EVER_S)  # noqa: ASYNC251 - this is the fault
            case "hangs in a thread":
                await asyncio.to_thread(time.sleep, _FOR_EVER_S)
            case "kills its worker":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                sys.exit(3)
            case "raises":
                raise ValueError("Doe^Jane was born in 1960")
            case "calls a model":
                await model.infer({}, {})
        return _ANSWERS.get(way, _well)(volume)


def _well(volume: Volume) -> MachineOutput:
    return _WELL


def _labelled(volume: Volume, labels: np.ndarray, *, times: int = 1) -> MachineOutput:
    return replace(_WELL, label_maps=tuple(LabelMap(f"air {n}", labels, (_SEGMENT,)) for n in range(times)))


def _measured(value: float, times: int = 1) -> MachineOutput:
    each = Measurement("share", "Share of air", value, "1", _AIR, "A test.")
    return replace(_WELL, measurements=(each,) * times)


_ANSWERS: dict[str, Callable[[Volume], MachineOutput]] = {
    "nothing": lambda volume: None,
    "wrong shape": lambda volume: _labelled(volume, np.zeros((1, 2, 3), np.uint8)),
    "wrong dtype": lambda volume: _labelled(volume, np.zeros(volume.voxels.shape, np.float64)),
    "unknown label": lambda volume: _labelled(volume, np.full(volume.voxels.shape, 9, np.uint8)),
    "gigabytes": lambda volume: _labelled(volume, np.broadcast_to(np.uint8(1), (1 << 20, 1 << 10, 1 << 4))),
    "many label maps": lambda volume: _labelled(volume, np.zeros(volume.voxels.shape, np.uint8), times=1000),
    "nan": lambda volume: _measured(float("nan")),
    "infinite value": lambda volume: replace(_WELL, values={"share": float("inf")}),
    "many measurements": lambda volume: _measured(1.0, times=100_000),
    "many findings": lambda volume: replace(_WELL, findings=(Finding("a", None, "A test."),) * 100_000),
    "long text": lambda volume: replace(_WELL, summary="x" * 10_000_000),
    "frame beyond": lambda volume: replace(_WELL, key_frames=(KeyFrame(len(volume.frames), "Beyond"),)),
    "no such value": lambda volume: replace(_WELL, values={"something else": 1}),
    "no text": lambda volume: replace(_WELL, summary=None),
}
