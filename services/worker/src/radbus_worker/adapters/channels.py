"""The images of each channel of a task, brought into its folder: from stored series, or out of an uploaded archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from radbus_contracts.orders import RunTaskV1
from radbus_dicom.errors import SeriesNotUsable
from radbus_dicom.zips import ZipLimits
from radbus_machines.manifest import MachineManifest
from radbus_storage.objects import ObjectStore

from radbus_worker.adapters import pixel_work
from radbus_worker.adapters.archives import UploadedInstance
from radbus_worker.adapters.cpu_pool import CpuPool
from radbus_worker.adapters.series import SeriesStore
from radbus_worker.adapters.together import all_of
from radbus_worker.domain.archives import by_channel
from radbus_worker.domain.channels import SINGLE, assigned, largest_series
from radbus_worker.domain.claims import Claim

_PIECES = 16  # each reads the archive's directory anew
_LEAST_PIECE = 8


@dataclass(frozen=True, slots=True)
class Channel:
    """The images of one channel: one series. `elements` are what the manifest grants, by SOPInstanceUID and keyword."""

    name: str
    series_instance_uid: str
    paths: Sequence[Path]
    elements: Mapping[str, Mapping[str, object]]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredChannels:
    """From the series that the order names."""

    series: SeriesStore

    async def fetch(self, claim: Claim, manifest: MachineManifest, folder: Path) -> list[Channel]:
        """Download the series of each channel, the one that is segmented first.

        Raises:
            SeriesNotUsable: The order has no series for a channel of the machine.
            SeriesMissingError: A series has no instances, or too many.
        """
        channels: list[Channel] = []
        for name, series_instance_uids in _series_by_channel(claim.order, manifest).items():
            first = sum(len(channel.paths) for channel in channels)
            found = await self.series.instances_of(
                claim.institution, series_instance_uids, keywords=manifest.dicom_tags
            )
            chosen, remarks = largest_series(instance.series_instance_uid for instance in found)
            instances = [instance for instance in found if instance.series_instance_uid == chosen]
            paths = await self.series.download(instances, folder, first=first)
            elements = {instance.sop_instance_uid: instance.elements for instance in instances}
            channels.append(Channel(name, chosen, paths, elements, remarks))
        return channels


def _series_by_channel(order: RunTaskV1, manifest: MachineManifest) -> dict[str, Sequence[str]]:
    if (not manifest.channels and len(order.channels) != 1) or (not order.channels and len(manifest.channels) == 1):
        return {next(iter(manifest.channels), SINGLE): order.series_instance_uids}
    return {name: [uid] for name, uid in assigned(manifest.channels, order.channels).items()}


@dataclass(frozen=True, slots=True)
class UploadedChannels:
    """Out of the archive that the order names: a folder is a channel."""

    objects: ObjectStore
    pool: CpuPool
    size_limit_bytes: int
    limits: ZipLimits

    async def fetch(self, claim: Claim, manifest: MachineManifest, folder: Path) -> list[Channel]:
        """Unpack the channels of the machine, the one that is segmented first.

        Raises:
            SeriesNotUsable: It is no archive, too large, damaged, or has not the channels that the machine needs.
            ObjectMissingError: It is not there.
        """
        archive = await self._download(claim.order.archive or "", folder)
        entries = await self.pool.run(pixel_work.read_entries, archive, self.limits)
        given = by_channel(entries)
        wanted = assigned(manifest.channels, given)
        work = [(index, folder / f"{index:05d}.dcm") for indices in wanted.values() for index in indices]
        unpacked = await self._unpack(archive, work, manifest.dicom_tags)
        by_path = {instance.path: instance for instance in unpacked}
        paths = dict(work)
        channels = [_channel(name, [by_path[paths[index]] for index in wanted[name]]) for name in wanted]
        if left_out := len(given) - len(wanted):
            remark = f"{left_out} more channel(s) of the archive were left out."
            channels[0] = replace(channels[0], remarks=(*channels[0].remarks, remark))
        return channels

    async def _download(self, key: str, folder: Path) -> Path:
        if await self.objects.size_bytes(key) > self.size_limit_bytes:
            raise SeriesNotUsable(f"Expected an archive of at most {self.size_limit_bytes} bytes.")
        archive = folder / "archive.zip"
        await self.objects.download(key, archive)
        return archive

    async def _unpack(
        self, archive: Path, work: Sequence[tuple[int, Path]], keywords: Sequence[str]
    ) -> list[UploadedInstance]:
        size = max(_LEAST_PIECE, -(-len(work) // _PIECES))
        pieces = [work[start : start + size] for start in range(0, len(work), size)]
        unpacked = await all_of(
            (partial(self.pool.run, pixel_work.unpack, archive, piece, keywords) for piece in pieces),
            at_a_time=2 * self.pool.processes,
        )
        return list(chain.from_iterable(unpacked))


def _channel(name: str, instances: Sequence[UploadedInstance]) -> Channel:
    chosen, remarks = largest_series(instance.series_instance_uid for instance in instances)
    kept = [instance for instance in instances if instance.series_instance_uid == chosen]
    elements = {instance.sop_instance_uid: instance.elements for instance in kept}
    return Channel(name, chosen, [instance.path for instance in kept], elements, remarks)
