"""The worker's composition root."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from radbus_contracts.errors import TransientError
from radbus_contracts.orders import RunTaskV1
from radbus_contracts.topology import pool_queue
from radbus_dicom.derived.segmentation import Encoding
from radbus_dicom.zips import ZipLimits
from radbus_machines.manifest import MachineManifest, Runner, load_manifests
from radbus_machines.triton import TritonClient
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.http import create_api
from radbus_runtime.outbox import OUTBOX_INDEX, OutboxRelay
from radbus_runtime.patient_key import PatientKeys
from radbus_runtime.service import Service
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore

from radbus_worker.adapters import metrics
from radbus_worker.adapters.channels import StoredChannels, UploadedChannels
from radbus_worker.adapters.courtesies import Courtesies
from radbus_worker.adapters.cpu_pool import CpuPool
from radbus_worker.adapters.derived_objects import DerivedObjects
from radbus_worker.adapters.leases import LEASE_INDEX, Leases
from radbus_worker.adapters.machines import coded_machines, triton_model_name
from radbus_worker.adapters.outcomes import Outcomes
from radbus_worker.adapters.own_threads import MachineThreads
from radbus_worker.adapters.priors import Priors
from radbus_worker.adapters.rendering import Renderer
from radbus_worker.adapters.scratch import remove_leftover_folders
from radbus_worker.adapters.series import SeriesStore
from radbus_worker.adapters.volumes import VolumeLoader
from radbus_worker.domain.slots import Slots
from radbus_worker.handlers.attempts import Attempts, Station
from radbus_worker.handlers.heartbeat import Heartbeat
from radbus_worker.handlers.intake import Intake
from radbus_worker.handlers.judge_volume import JudgeVolume, VolumeWorkshop
from radbus_worker.handlers.make_report import MakeReport
from radbus_worker.handlers.run_task import RunTaskHandler
from radbus_worker.handlers.running import Running
from radbus_worker.handlers.scratch_room import ScratchRoom
from radbus_worker.settings import WorkerSettings

_TELL_S = 5.0
_POLL_S = 0.1


def create_app(settings: WorkerSettings) -> Service:
    """Wire the worker.

    Raises:
        ManifestError: A machine's manifest does not hold.
        MachineMissingError: A machine's code is not installed.
    """
    documents, objects = Documents(settings.documents), ObjectStore(settings.objects)
    bus, teller, queue = Bus(settings, pools=[settings.pool]), Teller("worker"), pool_queue(settings.pool)
    manifests = load_manifests(settings.machines_dir)
    triton = TritonClient(
        settings.triton_url, shared_memory=settings.triton_shared_memory, silent_s=_silent_s(settings, manifests)
    )
    cpus = CpuPool(processes=settings.cpus, limit_s=settings.pool_limit_s, memory_bytes=settings.process_memory_bytes)
    threads = MachineThreads()
    leases = Leases(
        documents[records.LEASES], documents[records.JOBS], settings.worker, settings.lease_s, settings.time_zone
    )
    relay = OutboxRelay(bus, [documents[records.OUTCOMES]])
    outcomes = Outcomes(documents[records.OUTCOMES], relay, teller, settings.worker)
    courtesies = Courtesies(bus, teller, settings.worker)
    stores = _Stores(documents, objects, outcomes, leases)
    stations, models = _stations(settings, manifests, stores, triton, _Labour(cpus, threads))

    slots, running = Slots(settings.slots), Running()
    metrics.slots_busy.set_function(lambda: slots.busy)
    intake = Intake(bus, queue, slots)
    room = ScratchRoom(settings.scratch_dir, slots, low_bytes=settings.scratch_low_bytes)
    heartbeat = Heartbeat(
        courtesies, slots, worker=settings.worker, pool=settings.pool, every_s=settings.heartbeat_every_s
    )
    attempts = Attempts(stations, leases, outcomes, courtesies, settings.renew_every_s, room.hold)
    handler = RunTaskHandler(slots=slots, leases=leases, running=running, intake=intake, attempt=attempts.run)
    # One at a time: an order is claimed and acknowledged in milliseconds, and none is held without a slot.
    bus.subscribe(queue, RunTaskV1, handler.on_run_task, prefetch=1)

    return Service(
        name="worker",
        settings=settings,
        api=create_api("worker", description="Runs machines on series; it serves its health only."),
        bus=bus,
        documents=documents,
        objects=objects,
        indexes=[(leases.leases, [LEASE_INDEX]), (outcomes.outcomes, [OUTBOX_INDEX])],
        loops=[
            running.run,
            intake.run,
            room.run,
            heartbeat.run,
            relay.run,
            cpus.warm,
            partial(_end_when_stuck, threads),
            partial(_clear_leftovers, settings, triton),
        ],
        checks={"machines": threads.check, "scratch": room.check}
        | ({"triton": lambda: triton.check(models)} if models else {}),
        drain=[
            heartbeat.drain,
            partial(running.drain, settings.drain_s),
            partial(_wait_until_told, outcomes),
            cpus.close,
            triton.close,
            threads.refuse_a_clean_end,
        ],
    )


@dataclass(frozen=True, slots=True)
class _Stores:
    documents: Documents
    objects: ObjectStore
    outcomes: Outcomes
    leases: Leases


@dataclass(frozen=True, slots=True)
class _Labour:
    cpus: CpuPool
    threads: MachineThreads


def _stations(
    settings: WorkerSettings,
    manifests: Mapping[str, MachineManifest],
    stores: _Stores,
    triton: TritonClient,
    labour: _Labour,
) -> tuple[dict[str, Station], list[str]]:
    """Make a station of every machine of the pool; return them with the models that must be ready."""
    documents, cpus, leases = stores.documents, labour.cpus, stores.leases
    series = SeriesStore(
        documents[records.INSTANCES], documents[records.SERIES], stores.objects, downloads=settings.downloads
    )
    derived = DerivedObjects(stores.objects)
    limits = ZipLimits(inflated_bytes=settings.archive_inflated_limit_bytes)
    workshop = VolumeWorkshop(
        StoredChannels(series),
        UploadedChannels(stores.objects, cpus, settings.archive_limit_bytes, limits),
        VolumeLoader(cpus, settings.volume_limit_bytes),
        Renderer(cpus, _encodings(settings)),
        Priors(documents[records.INFERENCES], series, leases, _patient_keys(settings)),
        derived,
        labour.threads,
        settings.scratch_dir,
    )
    machines = coded_machines(manifests, triton, pool=settings.pool, in_flight=settings.triton_in_flight)
    stations = {name: Station(each.manifest, JudgeVolume(each, workshop)) for name, each in machines.items()}
    report = MakeReport(stores.outcomes, series, derived, cpus, settings.scratch_dir)
    for name, manifest in manifests.items():
        if manifest.runner is Runner.REPORT and manifest.pool == settings.pool:
            stations[name] = Station(manifest, report)
    on_triton = (each.manifest for each in machines.values() if each.manifest.runner is Runner.TRITON)
    return stations, sorted({triton_model_name(manifest) for manifest in on_triton})


def _silent_s(settings: WorkerSettings, manifests: Mapping[str, MachineManifest]) -> float:
    """Return after how long a model is silent: not while an inference of it may go on."""
    return max(
        settings.triton_silent_s, *(each.timeout_s for each in manifests.values() if each.runner is Runner.TRITON), 0
    )


def _encodings(settings: WorkerSettings) -> tuple[Encoding, ...]:
    return (Encoding.BINARY, Encoding.LABELMAP) if settings.seg_labelmap else (Encoding.BINARY,)


def _patient_keys(settings: WorkerSettings) -> PatientKeys | None:
    secret = settings.patient_key
    return None if secret is None else PatientKeys(secret.get_secret_value().encode())


async def _end_when_stuck(threads: MachineThreads) -> None:
    """End the worker in order, as SIGTERM does, once a machine hangs: the slot would never be free again."""
    await threads.stuck()
    os.kill(os.getpid(), signal.SIGTERM)


async def _clear_leftovers(settings: WorkerSettings, triton: TritonClient) -> None:
    """Remove what killed workers have left on this host."""
    await asyncio.to_thread(remove_leftover_folders, settings.scratch_dir)
    await triton.forget_leftovers()


async def _wait_until_told(outcomes: Outcomes) -> None:
    """Give the relay a moment for the last facts; another worker's sweep, or this one's next start, sends the rest."""
    with suppress(TimeoutError, TransientError):
        async with asyncio.timeout(_TELL_S):
            while await outcomes.untold():  # noqa: ASYNC110 - a database has no event to wait for
                await asyncio.sleep(_POLL_S)
