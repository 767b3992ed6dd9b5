"""Run a machine: load the images of its channels, decode them, infer, render the outputs, store them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.frames import FrameHeader
from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Progress
from radbus_runtime.stages import Stage, stage

from radbus_worker.adapters.channels import Channel
from radbus_worker.adapters.derived_objects import DerivedObjects
from radbus_worker.adapters.machines import CodedMachine
from radbus_worker.adapters.own_threads import MachineThreads
from radbus_worker.adapters.priors import Priors
from radbus_worker.adapters.rendering import ARCHIVE_KINDS, Renderer, Wanted, series_kinds
from radbus_worker.adapters.scratch import private_folder
from radbus_worker.adapters.volumes import LoadedVolume, VolumeLoader
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.inputs import FrameInput, Inputs, inference_inputs, merged
from radbus_worker.domain.outputs import check_output
from radbus_worker.domain.results import Produced

_LOADED, _DECODED, _INFERRED, _RENDERED = 0.1, 0.25, 0.8, 0.95


class Channels(Protocol):
    """From where the images of a task come."""

    async def fetch(self, claim: Claim, manifest: MachineManifest, folder: Path) -> list[Channel]:
        """Bring the images of each channel of a machine into a folder, those that are segmented first."""
        ...


@dataclass(frozen=True, slots=True)
class VolumeWorkshop:
    """What all machines that see volumes share."""

    stored: Channels
    uploaded: Channels
    loader: VolumeLoader
    renderer: Renderer
    priors: Priors
    derived: DerivedObjects
    threads: MachineThreads
    scratch_dir: Path


@dataclass(frozen=True, slots=True)
class JudgeVolume:
    """The runners `triton` and `python`."""

    station: CodedMachine
    workshop: VolumeWorkshop

    async def run(self, claim: Claim, progress: Progress) -> Produced:
        """Judge a volume, with those of the other channels, and store what the machine says of it."""
        workshop, manifest = self.workshop, self.station.manifest
        on_archive, machine = claim.order.archive is not None, manifest.name
        async with AsyncExitStack() as lent:
            folder = await lent.enter_async_context(private_folder(workshop.scratch_dir))
            with stage(Stage.LOAD, machine=machine):
                source = workshop.uploaded if on_archive else workshop.stored
                channels = await source.fetch(claim, manifest, folder)
            progress(_LOADED)
            with stage(Stage.PREPROCESS, machine=machine):
                share = workshop.loader.limit_bytes // len(channels)
                volumes = [await lent.enter_async_context(self._loaded(channel, share)) for channel in channels]
                loaded = _with_others(volumes, channels)
            progress(_DECODED)
            with stage(Stage.INFER, machine=machine):
                told = _between(progress, _DECODED, _INFERRED)
                answered = await workshop.threads.infer(self.station, loaded.volume, told)
                output = check_output(answered, label_bytes=workshop.loader.limit_bytes)
            progress(_INFERRED)
            comparison = await workshop.priors.compare(claim, manifest, output, remarks=loaded.volume.remarks)
            kinds = ARCHIVE_KINDS if on_archive else series_kinds(loaded, output)
            with stage(Stage.RENDER, machine=machine):
                wanted = Wanted(kinds, folder, provenance_of(claim, manifest), manifest.public_id, comparison)
                rendered = await workshop.renderer.render(loaded, output, wanted)
            progress(_RENDERED)
            with stage(Stage.KEEP, machine=machine):
                keys = await workshop.derived.store(claim, rendered.files)
            # What was in an archive is not kept, nor told of.
            inputs = {} if on_archive else _inputs(claim, channels, volumes)
            remarks = (*loaded.volume.remarks, *rendered.remarks)
            return Produced(output, remarks, inputs, keys, comparison)

    def _loaded(self, channel: Channel, limit_bytes: int) -> AbstractAsyncContextManager[LoadedVolume]:
        return self.workshop.loader.loaded(
            channel.paths,
            attributes_of=lambda header: channel.elements.get(header.sop_instance_uid, {}),
            remarks=channel.remarks,
            limit_bytes=limit_bytes,
        )


def _with_others(volumes: Sequence[LoadedVolume], channels: Sequence[Channel]) -> LoadedVolume:
    """Put the other channels beside the first, with what was odd about them."""
    first, *others = volumes
    if not others:
        return first
    by_name = {channel.name: each.volume for channel, each in zip(channels[1:], others, strict=True)}
    remarks = [f"{name}: {remark}" for name, volume in by_name.items() for remark in volume.remarks]
    return replace(first, volume=replace(first.volume, channels=by_name, remarks=(*first.volume.remarks, *remarks)))


def provenance_of(claim: Claim, manifest: MachineManifest) -> Provenance:
    """Say where an attempt's objects come from; a re-run says the same."""
    return Provenance(
        job_id=claim.order.job_id,
        machine=manifest.name,
        machine_version=manifest.version,
        use_case=claim.order.use_case,
        use_case_version=claim.use_case_version,
        made_at=claim.requested_at,
        weights_sha256=manifest.weights_sha256,
    )


def _between(progress: Progress, start: float, end: float) -> Progress:
    return lambda fraction: progress(start + (end - start) * min(1.0, max(0.0, fraction)))


def _inputs(claim: Claim, channels: Sequence[Channel], volumes: Sequence[LoadedVolume]) -> Inputs:
    return merged(
        inference_inputs(
            [_frame_input(header, channel.elements) for header in loaded.plan.headers],
            study_instance_uid=claim.order.study_instance_uid,
            series_instance_uid=channel.series_instance_uid,
        )
        for channel, loaded in zip(channels, volumes, strict=True)
    )


def _frame_input(header: FrameHeader, elements: Mapping[str, Mapping[str, object]]) -> FrameInput:
    granted = elements.get(header.sop_instance_uid, {})
    return FrameInput(header.instance_number, {**granted, **_geometry(header)})


def _geometry(header: FrameHeader) -> dict[str, object]:
    """Return what a volume itself tells of a frame, whatever the manifest grants."""
    known = {
        "ImagePositionPatient": header.image_position_patient,
        "ImageOrientationPatient": header.image_orientation_patient,
        "PixelSpacing": header.pixel_spacing_mm,
        "SliceThickness": header.slice_thickness_mm,
    }
    return {
        keyword: list(value) if isinstance(value, tuple) else value
        for keyword, value in known.items()
        if value is not None
    }
