"""From a machine's output to files: SEG, NumPy archive, key slices, structures, JSON; drawn by the process pool."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import structlog
from radbus_contracts.errors import TransientError
from radbus_dicom.derived.archives import output_json
from radbus_dicom.derived.comparison import Comparison
from radbus_dicom.derived.key_slices import BRAIN_WINDOW, LUNG_WINDOW
from radbus_dicom.derived.labels import check_labels
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.derived.segmentation import Encoding
from radbus_dicom.errors import OutputNotValid, SeriesNotUsable
from radbus_dicom.radiographs import PROJECTION_MODALITIES
from radbus_dicom.tones import Tone
from radbus_machines.shared_blocks import make_block
from radbus_machines.types import LabelMap, MachineOutput

from radbus_worker.adapters import pixel_work
from radbus_worker.adapters.cpu_pool import CpuPool
from radbus_worker.adapters.shared_volumes import SharedLabels
from radbus_worker.adapters.together import all_of
from radbus_worker.adapters.volumes import LoadedVolume
from radbus_worker.domain.results import LEFT_OUT

log = structlog.get_logger(__name__)

_SERIES_KINDS = frozenset({"seg", "sr", "gsps", "sc", "npz", "sc_png"})
_OF_THE_STUDY = frozenset({"seg", "sr", "gsps", "sc"})
ARCHIVE_KINDS = frozenset({"rtstruct"})
"""What is made for an uploaded archive: its client reads no more, and a SEG cannot name UIDs that are none."""

_TITLES = {
    "seg": "segmentation objects",
    "seg_labelmap": "label map segmentation objects",
    "sr": "measurement reports",
    "gsps": "presentation states",
    "sc": "secondary captures",
    "rtstruct": "RT structure sets",
    "npz": "label arrays",
    "sc_png": "key slices",
}

_WINDOWS = {("39607008", "SCT"): LUNG_WINDOW, ("12738006", "SCT"): BRAIN_WINDOW}
"""How CT is shown that has a segment of this kind."""


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """A file to be stored: its kind as the results API names it, its name, and what it holds."""

    kind: str
    path: Path
    content_type: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which kinds of files to make, in which folder, and what to say of their origin."""

    kinds: frozenset[str]
    folder: Path
    provenance: Provenance
    model_id: str
    comparison: Comparison | None = None


def series_kinds(loaded: LoadedVolume, output: MachineOutput) -> frozenset[str]:
    """Tell what is made for a stored series, beside the JSON; structures where some were found and have a place."""
    has_structures = any(label_map.segments for label_map in output.label_maps)
    if has_structures and loaded.plan.modality not in PROJECTION_MODALITIES:
        return _SERIES_KINDS | {"rtstruct"}
    return _SERIES_KINDS


@dataclass(frozen=True, slots=True)
class Rendered:
    """The files of an output, and what a reader of them must know: what could not be made."""

    files: list[RenderedFile]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """How the files of one kind are made."""

    kind: str
    draw: Callable[[], Awaitable[list[RenderedFile]]]


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes the files of every machine, so that every machine gets them all."""

    pool: CpuPool
    encodings: tuple[Encoding, ...] = (Encoding.BINARY,)

    async def render(self, loaded: LoadedVolume, output: MachineOutput, wanted: Wanted) -> Rendered:
        """Write the wanted files of an output, and its JSON.

        Of a stored series, a kind that cannot be made is left out with a remark: the others are worth having. What is
        made of an archive is all that its client gets.

        Raises:
            OutputNotValid: The output does not fit its volume, or cannot be written.
            SeriesNotUsable: Structures are wanted of images that have no place in the patient.
            TransientError: The pool died, or there was no room for the labels.
        """
        await asyncio.to_thread(_check, output, loaded)
        output_json(output, provenance=wanted.provenance)  # first of all: what has no JSON is no output
        left_out: set[str] = set()
        async with AsyncExitStack() as blocks:
            labels = [await blocks.enter_async_context(_shared(label_map)) for label_map in output.label_maps]
            drawings = self._drawings(loaded, output, labels, wanted)
            work = (each.draw if wanted.kinds <= ARCHIVE_KINDS else _drawn_or(each, left_out) for each in drawings)
            files = await all_of(work, at_a_time=2 * self.pool.processes)
        remarks = tuple(f"The {_TITLES[kind]} {LEFT_OUT}" for kind in sorted(left_out))
        told = (*loaded.volume.remarks, *remarks)
        content = output_json(output, provenance=wanted.provenance, remarks=told, comparison=wanted.comparison)
        json_file = RenderedFile("json", wanted.folder / "output.json", "application/json")
        await asyncio.to_thread(json_file.path.write_bytes, content)
        return Rendered([file for of_one in files for file in of_one] + [json_file], remarks)

    def _drawings(
        self, loaded: LoadedVolume, output: MachineOutput, labels: Sequence[SharedLabels], wanted: Wanted
    ) -> Iterator[Drawing]:
        if "rtstruct" in wanted.kinds and output.usable:
            yield self._structures(loaded, labels, wanted)
        if "npz" in wanted.kinds:
            names = _names(labels)
            yield from (self._npz(loaded, *each, wanted.folder) for each in zip(labels, names, strict=True))
        if "sc_png" in wanted.kinds:
            yield self._key_slices(loaded, labels, output, wanted.folder)
        if wanted.kinds & _OF_THE_STUDY:
            yield from self._objects(loaded, output, labels, wanted)

    def _objects(
        self, loaded: LoadedVolume, output: MachineOutput, labels: Sequence[SharedLabels], wanted: Wanted
    ) -> Iterator[Drawing]:
        """Give the DICOM objects that belong into the study."""
        origin = pixel_work.Origin(tuple(loaded.plan.slots_by_path()), loaded.shared, wanted.provenance)
        folder, seen = wanted.folder, (labels, _shown(output, loaded), origin)
        if "seg" in wanted.kinds:
            for encoding, (each, name) in product(self.encodings, zip(labels, _names(labels), strict=True)):
                write = partial(pixel_work.write_segmentation, each, origin, encoding)
                yield self._one(encoding.value, folder / f"{encoding.value.replace('_', '-')}-{name}.dcm", write)
        if "sr" in wanted.kinds:
            said = replace(output, label_maps=())  # their arrays are shared, not sent
            yield self._one(
                "sr",
                folder / "sr.dcm",
                partial(pixel_work.write_measurement_report, said, labels, origin, wanted.comparison),
            )
        if "gsps" in wanted.kinds and output.usable:
            yield self._one("gsps", folder / "gsps.dcm", partial(pixel_work.write_presentation_state, *seen))
        if "sc" in wanted.kinds and output.usable:
            yield self._captures(partial(pixel_work.write_secondary_captures, *seen, folder))

    def _one(self, kind: str, target: Path, write: Callable[[Path], bool]) -> Drawing:
        """Draw one DICOM object, or none where there is nothing to draw."""

        async def draw() -> list[RenderedFile]:
            made = await self.pool.run(write, target)
            return [RenderedFile(kind, target, "application/dicom")] if made else []

        return Drawing(kind, draw)

    def _captures(self, write: Callable[[], list[Path]]) -> Drawing:
        async def draw() -> list[RenderedFile]:
            return [RenderedFile("sc", path, "application/dicom") for path in await self.pool.run(write)]

        return Drawing("sc", draw)

    def _structures(self, loaded: LoadedVolume, labels: Sequence[SharedLabels], wanted: Wanted) -> Drawing:
        if loaded.plan.modality in PROJECTION_MODALITIES:
            raise SeriesNotUsable("Expected images that lie in the patient; no structure can be drawn on radiographs.")
        file = RenderedFile("rtstruct", wanted.folder / "rtstruct.dcm", "application/dicom")

        async def draw() -> list[RenderedFile]:
            await self.pool.run(
                pixel_work.write_rt_structure_set,
                labels,
                loaded.shared,
                source=loaded.plan.headers[0].path,
                provenance=wanted.provenance,
                model_id=wanted.model_id,
                all_organs=wanted.kinds <= ARCHIVE_KINDS,
                target=file.path,
            )
            return [file]

        return Drawing(file.kind, draw)

    def _npz(self, loaded: LoadedVolume, labels: SharedLabels, name: str, folder: Path) -> Drawing:
        file = RenderedFile("npz", folder / f"labels-{name}.npz", "application/octet-stream")

        async def draw() -> list[RenderedFile]:
            await self.pool.run(pixel_work.write_npz, labels, loaded.shared, file.path)
            return [file]

        return Drawing(file.kind, draw)

    def _key_slices(
        self, loaded: LoadedVolume, labels: Sequence[SharedLabels], output: MachineOutput, folder: Path
    ) -> Drawing:
        files = [
            RenderedFile("sc_png", folder / f"key-{number:02d}.png", "image/png")
            for number in range(1, len(output.key_frames) + 1)
        ]
        shown, targets = _shown(output, loaded), [file.path for file in files]

        async def draw() -> list[RenderedFile]:
            if targets:
                await self.pool.run(pixel_work.write_key_slices, loaded.shared, labels, shown, targets)
            return files

        return Drawing("sc_png", draw)


def _drawn_or(drawing: Drawing, left_out: set[str]) -> Callable[[], Awaitable[list[RenderedFile]]]:
    """Draw, or note in `left_out` what cannot be drawn."""

    async def draw() -> list[RenderedFile]:
        try:
            return await drawing.draw()
        except (TransientError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library makes of odd images, the other objects stand
            # Its text may quote the patient's header.
            log.warning("object.left_out", kind=drawing.kind, error=type(error).__name__, place=_place(error))
            left_out.add(drawing.kind)
            return []

    return draw


def _place(error: Exception) -> str | None:
    """Read the innermost module and line from the traceback that the pool's process sent along as text."""
    lines = re.findall(r'^  File "[^"\n]*?(\w+)\.py", line (\d+), in ', str(error.__cause__), re.MULTILINE)
    return ":".join(lines[-1]) if lines else None


def _check(output: MachineOutput, loaded: LoadedVolume) -> None:
    frames = loaded.plan.shape[0]
    for label_map in output.label_maps:
        if label_map.labels.shape != loaded.plan.shape or label_map.labels.dtype != np.uint8:
            raise OutputNotValid(f"expected labels as uint8 {loaded.plan.shape}, as the volume")
        check_labels(label_map, frames=frames)
    if any(not 0 <= key_frame.frame < frames for key_frame in output.key_frames):
        raise OutputNotValid(f"expected key frames within the volume's {frames} frames")
    if any(not 0 <= line.frame < frames for line in output.lines):
        raise OutputNotValid(f"expected lines within the volume's {frames} frames")


@asynccontextmanager
async def _shared(label_map: LabelMap) -> AsyncIterator[SharedLabels]:
    block = await make_block(label_map.labels.nbytes)
    try:
        target = block.array(label_map.labels.shape, np.dtype(np.uint8))
        await asyncio.to_thread(np.copyto, target, label_map.labels)
        yield SharedLabels(block.name, label_map.labels.shape, label_map.name, label_map.segments)
    finally:
        block.remove()


def _shown(output: MachineOutput, loaded: LoadedVolume) -> pixel_work.Shown:
    return pixel_work.Shown(output.key_frames, output.lines, _window(output, loaded))


def _window(output: MachineOutput, loaded: LoadedVolume) -> Tone | None:
    """Choose the window that shows what was labelled, of a radiograph its own; None leaves it to the modality."""
    if (radiograph := loaded.plan.headers[0].radiograph) is not None:
        return radiograph.tone
    if loaded.volume.modality != "CT":
        return None
    kinds = [(segment.kind.value, segment.kind.scheme) for each in output.label_maps for segment in each.segments]
    return next((_WINDOWS[kind] for kind in kinds if kind in _WINDOWS), None)


def _names(labels: Sequence[SharedLabels]) -> list[str]:
    """Name the files of label maps, with a running number where what is plain in their names is the same."""
    names: list[str] = []
    for each in labels:
        plain = re.sub(r"[^a-z0-9]+", "-", each.name.lower()).strip("-") or "labels"
        candidates = (plain, *(f"{plain}-{number}" for number in range(2, len(labels) + 2)))
        names.append(next(name for name in candidates if name not in names))
    return names
