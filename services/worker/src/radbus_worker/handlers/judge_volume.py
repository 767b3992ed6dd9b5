"""Run a machine on Triton: load the series, decode it, infer, render the outputs, store them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.frames import FrameHeader
from radbus_machines.manifest import MachineManifest
from radbus_machines.protocol import Progress

from radbus_worker.adapters.derived_objects import DerivedObjects
from radbus_worker.adapters.machines import TritonMachine
from radbus_worker.adapters.rendering import Renderer
from radbus_worker.adapters.scratch import private_folder
from radbus_worker.adapters.series import SeriesStore, StoredInstance
from radbus_worker.adapters.stages import stage
from radbus_worker.adapters.volumes import LoadedVolume, VolumeLoader
from radbus_worker.domain.claims import Claim
from radbus_worker.domain.inputs import FrameInput, inference_inputs
from radbus_worker.domain.results import Produced

_LOADED, _DECODED, _INFERRED, _RENDERED = 0.1, 0.25, 0.8, 0.95

Elements = Mapping[str, Mapping[str, object]]
"""Granted header elements by SOPInstanceUID."""


@dataclass(frozen=True, slots=True)
class VolumeWorkshop:
    """What all machines on Triton share."""

    series: SeriesStore
    loader: VolumeLoader
    renderer: Renderer
    derived: DerivedObjects
    scratch_dir: Path


@dataclass(frozen=True, slots=True)
class JudgeVolume:
    """The runner `triton`."""

    station: TritonMachine
    workshop: VolumeWorkshop

    async def run(self, claim: Claim, progress: Progress) -> Produced:
        """Judge the volume of a series and store what the machine says of it."""
        workshop = self.workshop
        async with AsyncExitStack() as lent:
            folder = await lent.enter_async_context(private_folder(workshop.scratch_dir))
            with stage("load"):
                instances, remarks = await self._instances(claim)
                paths = await workshop.series.download(instances, folder)
            progress(_LOADED)
            elements = {instance.sop_instance_uid: instance.elements for instance in instances}
            with stage("decode"):
                loaded = await lent.enter_async_context(
                    workshop.loader.loaded(
                        paths, attributes_of=lambda header: elements.get(header.sop_instance_uid, {}), remarks=remarks
                    )
                )
            progress(_DECODED)
            with stage("infer"):
                output = await self.station.machine.infer(
                    loaded.volume, self.station.model, _between(progress, _DECODED, _INFERRED)
                )
            progress(_INFERRED)
            with stage("render"):
                files = await workshop.renderer.render(
                    loaded, output, provenance=provenance_of(claim, self.station.manifest), folder=folder
                )
            progress(_RENDERED)
            with stage("store"):
                keys = await workshop.derived.store(claim, files)
            return Produced(output, loaded.volume.remarks, _inputs(claim, instances, loaded, elements), keys)

    async def _instances(self, claim: Claim) -> tuple[list[StoredInstance], tuple[str, ...]]:
        """Return the instances of the one series to judge: of several, the one with the most images."""
        found = await self.workshop.series.instances_of(
            claim.institution, claim.order.series_instance_uids, keywords=self.station.manifest.dicom_tags
        )
        counts = Counter(instance.series_instance_uid for instance in found)
        if len(counts) == 1:
            return found, ()
        chosen = min(counts, key=lambda uid: (-counts[uid], uid))
        remark = f"Of {len(counts)} series, the one with the most images was judged."
        return [instance for instance in found if instance.series_instance_uid == chosen], (remark,)


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


def _inputs(
    claim: Claim, instances: Sequence[StoredInstance], loaded: LoadedVolume, elements: Elements
) -> dict[str, object]:
    frames = [
        FrameInput(header.instance_number, {**elements.get(header.sop_instance_uid, {}), **_geometry(header)})
        for header in loaded.plan.headers
    ]
    return inference_inputs(
        frames,
        study_instance_uid=claim.order.study_instance_uid,
        series_instance_uid=instances[0].series_instance_uid,
    )


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
