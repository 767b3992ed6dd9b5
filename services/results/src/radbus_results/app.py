"""The composition root of the results service."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from radbus_contracts import topology
from radbus_contracts.errors import TransientError
from radbus_contracts.facts import (
    InferenceCompletedV1,
    InferenceFailedV1,
    JobCompletedV1,
    JobFailedV1,
    JobRequestedV1,
    JobRetriedV1,
    SeriesCompletedV1,
    SeriesUnroutedV1,
)
from radbus_runtime.audit.access import current_access
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.auth.login import login_routes
from radbus_runtime.bus import Bus
from radbus_runtime.dialects import RETRY_AFTER_S
from radbus_runtime.documented import RefusalBody
from radbus_runtime.events import Teller
from radbus_runtime.http import create_api
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.patient_key import PatientKeys
from radbus_runtime.retention.policy import load_policy
from radbus_runtime.retention.purger import Purger
from radbus_runtime.retention.purges import Purges
from radbus_runtime.retention.sweeping import RetentionSweep
from radbus_runtime.retention.trail import PurgesInTrail
from radbus_runtime.service import Service
from radbus_runtime.webhooks.deliveries import DELIVERY_INDEXES, Deliveries
from radbus_runtime.webhooks.signing import WebhookKeys
from radbus_runtime.webhooks.subscriptions import WEBHOOK_INDEXES, Webhooks
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.objects import ObjectStore

from radbus_results.adapters.archives import ArchiveLimits, ArchivesPendingError, SeriesArchives
from radbus_results.adapters.cases import CASE_INDEXES, Cases
from radbus_results.adapters.inferences import INFERENCE_INDEXES, Inferences
from radbus_results.adapters.others import OtherRecords
from radbus_results.adapters.receivers import Receivers
from radbus_results.adapters.runs import Runs
from radbus_results.handlers.courier import Courier
from radbus_results.handlers.facts import Recorder
from radbus_results.handlers.inferences import InferencesReader, inference_routes
from radbus_results.handlers.patients import PatientInferences, patient_routes
from radbus_results.handlers.results import ResultsReader, result_routes
from radbus_results.handlers.runs import RunResults, run_routes
from radbus_results.handlers.segmentations import segmentation_routes
from radbus_results.handlers.webhooks import WebhookOpener
from radbus_results.settings import ResultsSettings

NAME = "results"
_NOTED_S = 25.0


def create_app(settings: ResultsSettings) -> Service:
    """Put the results service together.

    Raises:
        RetentionError: The policy of retention does not hold.
    """
    bus = Bus(settings)
    documents = Documents(settings.documents)
    objects = ObjectStore(settings.objects)
    cases = Cases(documents[records.CASES])
    inferences = Inferences(documents[records.INFERENCES])
    patient_keys = _patient_keys(settings)
    others = OtherRecords(documents, patient_keys)
    purges = Purges(documents)
    relay = OutboxRelay(bus, [cases.collection, inferences.collection, purges.collection])
    recorder = Recorder(cases, inferences, others, relay=relay, teller=Teller(NAME))
    _subscribe(bus, recorder)
    courier = _webhooks(bus, documents, settings)

    def sign(key: str) -> str:
        current_access().hands_out()
        return objects.presign(key, lifetime_s=settings.url_lifetime_s)

    archives = SeriesArchives(documents[records.INSTANCES], objects, _archive_limits(settings))
    authenticator = Authenticator(documents, settings)
    requires, requires_secret = authenticator.requires, authenticator.requires_secret
    runs = RunResults(Runs(documents), objects)
    api = _create_api()
    api.include_router(result_routes(ResultsReader(cases, inferences, others, sign=sign), requires))
    api.include_router(inference_routes(InferencesReader(inferences, archives, sign=sign), requires))
    api.include_router(login_routes(documents, settings))
    api.include_router(patient_routes(PatientInferences(inferences, archives, patient_keys, sign), requires))
    api.include_router(run_routes(runs, requires_secret))
    api.include_router(segmentation_routes(runs, requires_secret))
    return Service(
        name=NAME,
        settings=settings,
        api=api,
        bus=bus,
        documents=documents,
        objects=objects,
        indexes=[
            (cases.collection, CASE_INDEXES),
            (inferences.collection, INFERENCE_INDEXES),
            (purges.collection, purges.indexes),
            (documents[records.WEBHOOKS], WEBHOOK_INDEXES),
            (documents[records.DELIVERIES], DELIVERY_INDEXES),
        ],
        loops=[relay.run, courier.run, _retention(documents, objects, purges, settings).run],
        drain=[archives.close],
    )


def _webhooks(bus: Bus, documents: Documents, settings: ResultsSettings) -> Courier:
    """Hear what webhooks are told of, and make what calls them."""
    deadline_s, at_once, key = settings.webhook_deadline_s, settings.webhooks_at_once, settings.webhook_key
    # A try is one call, and a word to the database before and after it.
    webhooks, deliveries = Webhooks(documents), Deliveries(documents, claim_s=deadline_s + _NOTED_S)
    courier = Courier(
        webhooks,
        deliveries,
        Receivers(deadline_s=deadline_s, at_once=at_once),
        keys=None if key is None else WebhookKeys(key.get_secret_value().encode()),
        at_once=at_once,
    )
    opener = WebhookOpener(webhooks, deliveries, give_up_s=settings.webhook_give_up_s, wake=courier.wake)
    bus.subscribe(topology.WEBHOOKS_INFERENCE_COMPLETED, InferenceCompletedV1, opener.on_completed)
    bus.subscribe(topology.WEBHOOKS_INFERENCE_FAILED, InferenceFailedV1, opener.on_failed)
    bus.subscribe(topology.WEBHOOKS_SERIES_UNROUTED, SeriesUnroutedV1, opener.on_unrouted)
    return courier


def _retention(documents: Documents, objects: ObjectStore, purges: Purges, settings: ResultsSettings) -> RetentionSweep:
    policy = load_policy(settings.retention_file)
    purger = Purger(documents, objects, policy=policy, audit=PurgesInTrail(documents, "results"))
    return RetentionSweep(
        documents,
        purges,
        purger,
        policy=policy,
        every_s=settings.retention_every_s,
        round_limit=settings.retention_round_limit,
    )


def _patient_keys(settings: ResultsSettings) -> PatientKeys | None:
    secret = settings.patient_key
    return None if secret is None else PatientKeys(secret.get_secret_value().encode())


def _archive_limits(settings: ResultsSettings) -> ArchiveLimits:
    return ArchiveLimits(
        settings.archive_limit_bytes, settings.archives_at_once, settings.scratch_dir, settings.archive_wait_s
    )


def _subscribe(bus: Bus, recorder: Recorder) -> None:
    bus.subscribe(topology.RESULTS_SERIES_COMPLETED, SeriesCompletedV1, recorder.on_series_completed)
    bus.subscribe(topology.RESULTS_SERIES_UNROUTED, SeriesUnroutedV1, recorder.on_series_unrouted)
    bus.subscribe(topology.RESULTS_JOB_REQUESTED, JobRequestedV1, recorder.on_job_requested)
    bus.subscribe(topology.RESULTS_JOB_COMPLETED, JobCompletedV1, recorder.on_job_completed)
    bus.subscribe(topology.RESULTS_JOB_FAILED, JobFailedV1, recorder.on_job_failed)
    bus.subscribe(topology.RESULTS_JOB_RETRIED, JobRetriedV1, recorder.on_job_retried)


def _create_api() -> FastAPI:
    api = create_api(NAME, description="Where a series stands, what was found, and the history of inferences.")
    api.add_exception_handler(TransientError, _away)
    api.add_exception_handler(ArchivesPendingError, _pending)
    return api


async def _away(_: Request, __: Exception) -> JSONResponse:
    """Answer as the results API does when a store is away, which is not as uploads do."""
    body = RefusalBody(message="A store is away; please try again.")
    return JSONResponse(body.model_dump(), status_code=502, headers={"Retry-After": str(RETRY_AFTER_S)})


async def _pending(_: Request, error: Exception) -> JSONResponse:
    body = RefusalBody(message=str(error))
    return JSONResponse(body.model_dump(), status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)})
