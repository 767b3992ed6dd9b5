"""From downloaded instances to a volume in shared memory, by the process pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from radbus_dicom.errors import SeriesNotUsable
from radbus_dicom.frames import FrameHeader
from radbus_dicom.geometry import MAX_VOLUME_BYTES, VolumePlan, plan_volume
from radbus_machines.shared_blocks import make_block
from radbus_machines.types import Volume

from radbus_worker.adapters import pixel_work
from radbus_worker.adapters.cpu_pool import CpuPool
from radbus_worker.adapters.shared_volumes import SharedVolume
from radbus_worker.adapters.together import all_of

T = TypeVar("T")

_FILES_A_PIECE = 8  # small enough that an abandoned attempt soon frees the pool, large enough to be worth the way

AttributesOf = Callable[[FrameHeader], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class LoadedVolume:
    """A volume, how it was put together, and how other processes find it."""

    plan: VolumePlan
    volume: Volume
    shared: SharedVolume


@dataclass(frozen=True, slots=True)
class VolumeLoader:
    """Puts volumes together."""

    pool: CpuPool
    limit_bytes: int = MAX_VOLUME_BYTES

    @asynccontextmanager
    async def loaded(
        self,
        paths: Sequence[Path],
        *,
        attributes_of: AttributesOf,
        remarks: Sequence[str] = (),
        limit_bytes: int | None = None,
    ) -> AsyncIterator[LoadedVolume]:
        """Lend the volume of a series' instances; its memory is given back at the end, whatever happens.

        `attributes_of` tells what the machine may know, from the header of the volume's first frame. What the volume
        will take is known from the headers: above `limit_bytes`, nothing is decoded.

        Raises:
            SeriesNotUsable: They are not one volume, a larger one than fits, or their pixels cannot be decoded.
            TransientError: The pool died, or there was no room for the volume.
        """
        pieces = await all_of(
            (partial(self.pool.run, pixel_work.read_headers, piece) for piece in _pieces(paths)),
            at_a_time=self._at_a_time,
        )
        plan = await asyncio.to_thread(plan_volume, [header for piece in pieces for header in piece])
        frames, rows, columns = plan.shape
        size_bytes = frames * rows * columns * plan.dtype.itemsize
        _refuse_too_large(size_bytes, self.limit_bytes if limit_bytes is None else limit_bytes)
        block = await make_block(size_bytes)
        try:
            shared = SharedVolume(
                block=block.name,
                shape=plan.shape,
                dtype=plan.dtype,
                geometry=plan.geometry,
                frames=plan.frames,
                modality=plan.modality,
                attributes=dict(attributes_of(plan.headers[0])),
                remarks=(*plan.remarks, *remarks),
                photometric_interpretation=plan.headers[0].photometric_interpretation,
                projection=plan.projection,
            )
            await self._decode(plan, shared)
            yield LoadedVolume(plan, shared.volume(), shared)
        finally:
            block.remove()

    async def _decode(self, plan: VolumePlan, target: SharedVolume) -> None:
        work = list(plan.slots_by_path().items())
        await all_of(
            (partial(self.pool.run, pixel_work.decode, piece, target) for piece in _pieces(work)),
            at_a_time=self._at_a_time,
        )

    @property
    def _at_a_time(self) -> int:
        return 2 * self.pool.processes  # one in work and one at hand for each process


def _refuse_too_large(size_bytes: int, limit_bytes: int) -> None:
    # Well compressed, a few kilobytes may be gigabytes.
    if size_bytes > limit_bytes:
        raise SeriesNotUsable(
            f"Expected a volume of at most {limit_bytes} bytes, for which there is memory; this one has {size_bytes}."
        )


def _pieces(items: Sequence[T]) -> list[list[T]]:
    return [list(items[start : start + _FILES_A_PIECE]) for start in range(0, len(items), _FILES_A_PIECE)]
