"""The router's composition root."""

from __future__ import annotations

from radbus_contracts.facts import Scope, SeriesCompletedV1, StudyCompletedV1
from radbus_contracts.topology import ROUTER_SERIES_COMPLETED, ROUTER_STUDY_COMPLETED
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.bus import Bus
from radbus_runtime.events import Teller
from radbus_runtime.http import create_api
from radbus_runtime.outbox import OutboxRelay
from radbus_runtime.service import Service
from radbus_storage import records
from radbus_storage.documents import Documents

from radbus_router.adapters.routings import ROUTING_INDEXES, Routings
from radbus_router.adapters.series import SeriesHeaders
from radbus_router.adapters.uploads import Uploads
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.adapters.wishes import WISH_INDEXES, Wishes
from radbus_router.handlers.compute_routes import compute_routes
from radbus_router.handlers.computing import ComputeRequests
from radbus_router.handlers.messages import CompletionHandlers
from radbus_router.handlers.pushing import JobPusher
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
    routings, teller = Routings(collection, relay), Teller("router")
    wished = documents[records.WISHES]
    wishes = Wishes(wished)
    pusher = JobPusher(routings, wishes, teller)
    headers = SeriesHeaders(documents[records.SERIES])
    handlers = CompletionHandlers(use_cases, headers=headers, routings=routings, pusher=pusher, teller=teller)
    studies_are_routed = any(use_case.scope is Scope.STUDY for use_case in use_cases)
    requests = ComputeRequests(Uploads(documents), wishes, routings, pusher, studies_are_routed=studies_are_routed)
    bus.subscribe(ROUTER_SERIES_COMPLETED, SeriesCompletedV1, handlers.on_series_completed)
    bus.subscribe(ROUTER_STUDY_COMPLETED, StudyCompletedV1, handlers.on_study_completed)
    api = create_api("router", description="Which AI use cases there are, and which of them a series is for.")
    requires = Authenticator(documents, settings).requires
    api.include_router(use_case_routes(use_cases, requires))
    api.include_router(compute_routes(requests, requires))
    return Service(
        name="router",
        settings=settings,
        api=api,
        bus=bus,
        documents=documents,
        indexes=[(collection, ROUTING_INDEXES), (wished, WISH_INDEXES)],
        loops=[relay.run],
    )
