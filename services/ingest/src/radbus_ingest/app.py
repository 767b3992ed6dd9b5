"""The composition root of ingest: everything is made here, by plain constructors."""

from __future__ import annotations

from functools import partial

from radbus_contracts.facts import JobCompletedV1, JobFailedV1
from radbus_contracts.topology import INGEST_JOB_COMPLETED, INGEST_JOB_FAILED
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.http import create_api
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.retention.purges import Purges
from radbus_runtime.service import Service
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore

from radbus_ingest.adapters.backlog import Backlog
from radbus_ingest.adapters.bodies import BodyReader
from radbus_ingest.adapters.courtesy import Courtesy
from radbus_ingest.adapters.filling_store import FillingStore
from radbus_ingest.adapters.inner_eye_routes import RunRoutes
from radbus_ingest.adapters.models import load_models
from radbus_ingest.adapters.records import (
    InstanceRecords,
    SeriesRecords,
    StudyRecords,
)
from radbus_ingest.adapters.resources import disk_under, used_memory_bytes
from radbus_ingest.adapters.routes import IntakeRoutes
from radbus_ingest.adapters.runs import RunRecords
from radbus_ingest.adapters.spool import Room
from radbus_ingest.handlers.admitting import Gate
from radbus_ingest.handlers.completing import Completer
from radbus_ingest.handlers.erasing import RunEraser
from radbus_ingest.handlers.receiving import Receiver
from radbus_ingest.handlers.starting import RunStarter
from radbus_ingest.handlers.storing import InstanceStorer
from radbus_ingest.handlers.touching import Toucher
from radbus_ingest.handlers.watching import Senses, Watch
from radbus_ingest.settings import IngestSettings

_DESCRIPTION = (
    "Takes instances in by STOW-RS and /upload, stores them, and says when a series is complete; "
    "starts runs of models on uploaded zips. What `/api/v1/storage` and `/api/v1/feedback` were is STOW-RS now."
)


def create_app(settings: IngestSettings) -> Service:
    """Wire the service.

    Raises:
        ManifestError: A machine's manifest does not hold.
    """
    documents = Documents(settings.documents)
    objects = ObjectStore(settings.objects)
    bus = Bus(settings)
    instances, series, studies = InstanceRecords(documents), SeriesRecords(documents), StudyRecords(documents)
    runs = RunRecords(documents, repeat_s=settings.run_repeat_s)
    relay = OutboxRelay(bus, [series.collection, studies.collection, runs.collection])
    teller = Teller("ingest")
    courtesy = Courtesy(bus, teller)
    completer = Completer(instances, series, studies, relay=relay, teller=teller, sweep_every_s=settings.sweep_every_s)
    toucher = Toucher(
        settings.completeness,
        touch_series=series.touch,
        touch_study=studies.touch,
        count=instances.count,
        completed_count=series.completed_count,
        was_purged=Purges(documents).overlapped,
        complete_soon=completer.complete_soon,
    )
    room = _room(settings)
    watch = _watch(settings, Backlog(documents, relay.collections))
    gate = Gate(room, watch, settings.gate_limits)
    bodies = BodyReader(room, settings.limits, go_on=gate.go_on)
    filling = FillingStore(objects, store_is_full=watch.store_is_full)
    authenticator = Authenticator(documents, settings)
    receiver = Receiver(
        InstanceStorer(filling, instances),
        toucher,
        limits=settings.limits,
        new_spool=bodies.new_spool,
        parts_at_a_time=settings.parts_at_a_time,
        tell_stored=courtesy.tell_soon,
    )
    routes = IntakeRoutes(
        receiver,
        bodies,
        requires=authenticator.requires,
        gate=gate,
        count=instances.count,
        dicomweb_url=settings.dicomweb_url,
    )
    starter = RunStarter(filling, runs, teller=teller, send_soon=partial(relay.send_soon, runs.collection))
    run_routes = RunRoutes(
        starter,
        bodies,
        models=load_models(settings.machines_dir),
        requires=authenticator.requires_secret,
        gate=gate,
    )
    eraser = _eraser(runs, objects, bus, settings)
    api = create_api("ingest", description=_DESCRIPTION, body_limit_bytes=None)
    api.include_router(routes.router())
    api.include_router(run_routes.router())
    return Service(
        name="ingest",
        settings=settings,
        api=api,
        bus=bus,
        documents=documents,
        objects=objects,
        indexes=tuple((records.collection, records.indexes) for records in (instances, series, studies, runs)),
        loops=(relay.run, courtesy.run, completer.run, eraser.run, watch.run),
        notes={"admission": watch.describe},
    )


def _eraser(runs: RunRecords, objects: ObjectStore, bus: Bus, settings: IngestSettings) -> RunEraser:
    eraser = RunEraser(
        runs, objects.delete, older_than_s=settings.run_erase_after_s, sweep_every_s=settings.run_sweep_every_s
    )
    bus.subscribe(INGEST_JOB_COMPLETED, JobCompletedV1, eraser.on_job_completed)
    bus.subscribe(INGEST_JOB_FAILED, JobFailedV1, eraser.on_job_failed)
    return eraser


def _watch(settings: IngestSettings, backlog: Backlog) -> Watch:
    senses = Senses(partial(disk_under, settings.spool_dir), used_memory_bytes)
    return Watch(backlog, senses, settings.watermarks)


def _room(settings: IngestSettings) -> Room:
    return Room(
        memory_bytes=settings.spool_memory_bytes,
        part_memory_bytes=settings.spool_part_memory_bytes,
        folder=settings.spool_dir,
    )
