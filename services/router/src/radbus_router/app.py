"""The router's composition root."""

from __future__ import annotations

from radbus_contracts.facts import SeriesCompletedV1, StudyCompletedV1
from radbus_contracts.topology import ROUTER_SERIES_COMPLETED, ROUTER_STUDY_COMPLETED
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.http import create_api
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.service import Service
from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_router.adapters.records import ROUTING_INDEXES, Routings, SeriesHeaders
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.handlers.messages import CompletionHandlers
from radbus_router.handlers.requests import use_case_routes
from radbus_router.settings import RouterSettings


def create_app(settings: RouterSettings) -> Service:
    """Wire the router.

    Raises:
        UseCaseError: A use case's file does not hold; the text says which and why.
    """
    use_cases = load_use_cases(*settings.use_case_folders)
    documents, bus = Documents(settings.documents), Bus(settings)
    collection = documents[records.ROUTINGS]
    relay = OutboxRelay(bus, [collection])
    handlers = CompletionHandlers(
        use_cases,
        headers=SeriesHeaders(documents[records.SERIES]),
        routings=Routings(collection, relay),
        teller=Teller("router"),
    )
    bus.subscribe(ROUTER_SERIES_COMPLETED, SeriesCompletedV1, handlers.on_series_completed)
    bus.subscribe(ROUTER_STUDY_COMPLETED, StudyCompletedV1, handlers.on_study_completed)
    api = create_api("router", description="Which AI use cases there are, and which of them a series is for.")
    api.include_router(use_case_routes(use_cases, Authenticator(documents, settings).requires))
    return Service(
        name="router",
        settings=settings,
        api=api,
        bus=bus,
        documents=documents,
        indexes=[(collection, ROUTING_INDEXES)],
        loops=[relay.run],
    )
