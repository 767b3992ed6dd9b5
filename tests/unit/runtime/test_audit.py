"""The audit trail: one event for each request that shows credentials, before its answer, and nothing of a patient."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from fastapi import Depends
from fastapi.testclient import TestClient
from radbus_contracts.errors import PermanentError
from radbus_runtime.audit.access import Access, current_access
from radbus_runtime.audit.codes import EXPORT, READ, START, Action, EventId, ObjectKind, Outcome
from radbus_runtime.audit.events import OBJECT_LIMIT, Asked, event_of_access, event_of_service, outcome_of
from radbus_runtime.audit.messages import message_of
from radbus_runtime.audit.middleware import audited
from radbus_runtime.audit.operators import recorded
from radbus_runtime.audit.repeats import WINDOW_S, Repeats
from radbus_runtime.audit.trail import AuditTrail
from radbus_runtime.auth.authenticator import Authenticator
from radbus_runtime.auth.principal import AccessScope, Principal
from radbus_runtime.auth.tokens import digest
from radbus_runtime.dialects import DetailRoute, InnerEyeRoute
from radbus_runtime.http import create_api
from radbus_runtime.retention.order import EVERYTHING, Order, Plan
from radbus_runtime.retention.order import Kind as RetentionKind
from radbus_runtime.retention.trail import PurgesInTrail
from radbus_storage.errors import StoreUnavailableError
from structlog.testing import capture_logs

from tests.unit.runtime.memory import Records

TOKEN = "a-token-of-somebody"
KNOWN = {"Authorization": f"Token {TOKEN}"}
UID = "1.2.840.1"
ASKED = Asked("GET", "/results/{uid}", 200, "192.0.2.7")


class Events:
    """The collection `audit` in memory."""

    name = "audit"

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.failing: Exception | None = None

    async def insert(self, document: dict[str, Any]) -> None:
        await self.insert_many([document])

    async def insert_many(self, documents: list[dict[str, Any]]) -> None:
        if self.failing is not None:
            raise self.failing
        self.records += documents


class Stores(dict[str, Any]):
    """The database in memory."""

    def __init__(self, audit: Events, **collections: Any) -> None:
        super().__init__(collections)
        self.audit = audit


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def make_client(make_settings, events) -> Callable[..., TestClient]:
    """Make a service with a route of each contract, which reaches a study, fails, or hands out a URL."""

    def make(**settings: Any) -> TestClient:
        token = {"_id": digest(TOKEN), "institution": "north", "name": "ct", "expires_at": None}
        documents: Any = Stores(events, tokens=Records(token), users=Records())
        requires = Authenticator(documents, make_settings(**settings)).requires
        caller = Depends(requires(AccessScope.READ, READ))
        api = create_api("test", description="")

        def reach(uid: str, _: Principal = caller) -> str:
            if uid == "9.9":
                raise RuntimeError("DOE^JANE")
            if uid == "8.8":
                current_access().hands_out()
            if uid == UID:
                current_access().about(ObjectKind.STUDY, [f"{uid}.1"])
            return uid

        api.add_api_route("/results/{uid}", reach)
        api.router.add_api_route("/v1/{uid}", reach, route_class_override=InnerEyeRoute)
        api.router.add_api_route("/api/{uid}", reach, route_class_override=DetailRoute)
        api.add_api_route("/ping", lambda: None)
        api.user_middleware.append(audited(AuditTrail(documents, "test")))
        return TestClient(api, raise_server_exceptions=False)

    return make


def test_who_reached_what_when_from_where_and_how_it_ended_is_one_event(make_client, events):
    client = make_client()

    client.get(f"/results/{UID}", headers=KNOWN)

    (event,) = events.records
    requestor, own = event["participants"]
    assert event["event"] == {"id": "110103", "type": None, "action": "R", "outcome": 0}
    assert requestor["user"] == "ct"
    assert requestor["alternative_user"] == f"token:{digest(TOKEN)[:12]}"
    assert (requestor["is_requestor"], requestor["address"]) == (True, "testclient")
    assert (own["user"], own["is_requestor"], event["source"]["service"]) == ("radbus-test", False, "test")
    assert event["institution"] == "north"
    assert event["objects"] == [{"kind": "study", "uid": f"{UID}.1"}, {"kind": "uid", "uid": UID}]
    assert event["request"] == {"method": "GET", "route": "/results/{uid}", "status": 200}


@pytest.mark.parametrize(
    ("failing", "line"), [(None, "audit.recorded"), (StoreUnavailableError("away"), "audit.not_recorded")]
)
def test_the_log_has_each_event_with_what_it_was_about_also_when_the_trail_is_away(make_client, events, failing, line):
    events.failing = failing

    with capture_logs() as lines:
        make_client().get(f"/results/{UID}", headers=KNOWN)

    (told,) = [each for each in lines if each["event"].startswith("audit.")]
    assert (told["event"], told["user"], told["route"]) == (line, "ct", "GET /results/{uid}")
    assert (told["objects"], told["object_count"]) == ([f"study {UID}.1", f"uid {UID}"], 2)


async def test_a_purge_is_in_the_trail_and_in_the_log_with_its_study_and_series(events):
    asked = Order(
        institution="north",
        kind=RetentionKind.STUDY,
        subject_uid=UID,
        study_instance_uid=UID,
        what=EVERYTHING,
        by="policy",
        reason="",
    )
    stores: Any = Stores(events)

    with capture_logs() as lines:
        plan = Plan(order=asked, series=(f"{UID}.1",), jobs=())
        await PurgesInTrail(stores, "results").study_deleted(institution="north", user="policy", plan=plan)

    assert [(each["event"], each["objects"]) for each in lines] == [
        ("audit.recorded", [f"study {UID}", f"series {UID}.1"])
    ]
    assert [each["_id"] for each in events.records] == [each["audit_id"] for each in lines]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.SUCCESS),
        (PermanentError("refused"), Outcome.MINOR_FAILURE),
        (StoreUnavailableError("away"), Outcome.MAJOR_FAILURE),
        (OSError("no space left"), Outcome.MAJOR_FAILURE),
        (asyncio.CancelledError(), Outcome.MAJOR_FAILURE),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_what_an_operator_does_is_recorded_with_how_it_ended(events, error, outcome):
    stores: Any = Stores(events)

    with nullcontext() if error is None else pytest.raises(type(error)):
        async with recorded(stores, EXPORT) as about:
            about.append((ObjectKind.BACKUP, "20260101T000000Z"))
            if error is not None:
                raise error

    (event,) = events.records
    assert (event["event"]["id"], event["event"]["outcome"]) == (EventId.EXPORT, outcome)
    assert event["objects"] == [{"kind": "backup", "uid": "20260101T000000Z"}]


async def test_what_failed_is_told_also_when_it_cannot_be_recorded_and_then_the_log_has_it(events):
    events.failing = StoreUnavailableError("away")
    stores: Any = Stores(events)

    with capture_logs() as lines, pytest.raises(OSError, match="no space left"):
        async with recorded(stores, EXPORT):
            raise OSError("no space left")

    assert [(each["event"], each["outcome"]) for each in lines] == [("audit.not_recorded", Outcome.MAJOR_FAILURE)]


def test_what_fails_as_nobody_expected_is_recorded_as_a_failure_without_its_text(make_client, events):
    with make_client() as client:
        answer = client.get("/results/9.9", headers=KNOWN)

        (event,) = events.records
    assert answer.status_code == 500
    assert event["event"]["outcome"] == Outcome.MAJOR_FAILURE
    assert "DOE" not in str(event)


def test_an_address_that_is_handed_out_is_an_export(make_client, events):
    make_client().get("/results/8.8", headers=KNOWN)

    assert [each["event"]["id"] for each in events.records] == [EventId.EXPORT]


def test_what_asks_for_no_credentials_is_no_event(make_client, events):
    make_client().get("/ping", headers=KNOWN)

    assert events.records == []


@pytest.mark.parametrize("name", ["DOE JANE", "1.2.3 DOE", "MRN-4711"])
def test_what_is_no_id_in_an_address_is_not_recorded(make_client, events, name):
    make_client().get(f"/results/{name}", headers=KNOWN)

    assert name not in str(events.records)
    assert len(events.records) == 1


def test_credentials_that_nobody_has_are_a_failed_authentication_in_which_they_are_not_named(make_client, events):
    with make_client() as client:
        client.get(f"/results/{UID}", headers={"Authorization": "Token of-nobody"})

        (event,) = events.records
    assert event["event"] == {"id": "110114", "type": "110122", "action": "E", "outcome": 4}
    assert (event["participants"][0]["user"], event["institution"]) == ("unknown", None)
    assert "of-nobody" not in str(event)
    assert digest("of-nobody")[:8] not in str(event)


@pytest.mark.parametrize("status", [401, 403])
def test_a_first_failed_authentication_is_a_minor_failure_whichever_status_its_contract_has(status):
    event = event_of_access("test", Access(READ), Asked("GET", "/v1/ping", status, "192.0.2.7"))

    assert (event["event"]["id"], event["event"]["outcome"]) == ("110114", Outcome.MINOR_FAILURE)


def test_a_flood_of_failed_authentications_is_one_event_until_its_minute_is_over(make_client, events):
    with make_client() as client:
        for _ in range(50):
            client.get(f"/results/{UID}")

        assert len(events.records) == 1


def test_one_request_too_many_is_recorded_with_its_caller_and_the_rest_are_counted(make_client, events):
    with make_client(rate_limit="1/hour") as client:
        answers = [client.get(f"/results/{UID}", headers=KNOWN).status_code for _ in range(4)]

        assert answers == [200, 429, 429, 429]
        assert [each["request"]["status"] for each in events.records] == [200, 429]
        assert events.records[1]["participants"][0]["user"] == "ct"
        assert events.records[1]["event"]["outcome"] == Outcome.MINOR_FAILURE


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/results/1.2", {"success": False, "message": "A store or the bus is away; please try again."}),
        ("/api/1.2", {"detail": "A store is away; please try again."}),
    ],
)
def test_what_cannot_be_recorded_is_not_answered_but_with_503_in_the_words_of_the_contract(
    make_client, events, path, told
):
    events.failing = StoreUnavailableError("away")

    answer = make_client().get(path, headers=KNOWN)

    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, told, "5")


def test_a_client_of_inner_eye_is_told_in_its_words_that_nothing_can_be_recorded(make_client, events):
    events.failing = StoreUnavailableError("away")

    answer = make_client().get("/v1/1.2", headers=KNOWN)

    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")


def test_a_refusal_does_not_wait_for_its_record(make_client, events):
    events.failing = StoreUnavailableError("away")

    with make_client() as client:
        assert client.get("/results/1.2").status_code == 401


def test_of_many_objects_the_first_hundred_are_named_and_all_are_counted():
    access = Access(READ, Principal("north", "ct"), admitted=True)

    access.about(ObjectKind.INSTANCE, (f"1.2.{n % 500}" for n in range(1000)))

    event = event_of_access("test", access, ASKED)
    assert (len(event["objects"]), event["object_count"]) == (OBJECT_LIMIT, 500)


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, 0), (206, 0), (304, 0), (400, 4), (401, 4), (403, 8), (404, 4), (429, 4), (503, 12)]
)
def test_an_outcome_is_told_by_the_status(status, outcome):
    assert outcome_of(status) == outcome


def test_what_is_counted_is_one_event_a_minute_and_a_serious_failure():
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    failed = Access(READ)

    taken = [repeats.take(("192.0.2.7", ""), event_of_access("test", failed, ASKED)) for _ in range(8)]
    before = repeats.ended()
    now[0] += WINDOW_S
    after, again = repeats.ended(), repeats.ended()

    assert [each is not None for each in taken] == [True, *[False] * 7]
    assert (before, again) == ([], [])
    assert [(each["repeats"], each["event"]["outcome"]) for each in after] == [(7, Outcome.SERIOUS_FAILURE)]


def test_failures_from_ever_new_addresses_do_not_grow_without_bound():
    repeats = Repeats()
    failed = Access(READ)

    now = [
        repeats.take((f"2001:db8::{n:x}", ""), event_of_access("test", failed, ASKED)) is not None for n in range(5000)
    ]

    assert sum(now) == 1001
    assert max(each["repeats"] for each in repeats.ended(all_of_them=True)) == 3999


def test_an_event_is_a_message_of_the_standards_schema():
    access = Access(READ, Principal("north", "ct", caller="token:" + "0" * 64), admitted=True)
    access.about(ObjectKind.STUDY, [UID])

    message = ET.fromstring(message_of(event_of_access("results", access, ASKED)))

    identified = message.find("EventIdentification")
    assert identified is not None
    assert [each.tag for each in message] == [
        "EventIdentification",
        "ActiveParticipant",
        "ActiveParticipant",
        "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ]
    assert identified.find("EventID").attrib == {  # type: ignore[union-attr]
        "csd-code": "110103",
        "codeSystemName": "DCM",
        "originalText": "DICOM Instances Accessed",
    }
    assert (identified.get("EventActionCode"), identified.get("EventOutcomeIndicator")) == ("R", "0")
    assert message[1].get("UserIsRequestor") == "true"
    assert (message[1].get("NetworkAccessPointID"), message[1].get("NetworkAccessPointTypeCode")) == ("192.0.2.7", "2")
    assert message[2].get("NetworkAccessPointTypeCode") == "1"  # radbus's own, by the name of its host
    assert message[4].get("ParticipantObjectID") == UID
    assert [each.tag for each in message[4]] == ["ParticipantObjectIDTypeCode", "ParticipantObjectName"]


def test_a_service_says_that_it_starts():
    event = event_of_service("ingest", START)

    assert (event["event"]["id"], event["event"]["type"]) == ("110100", "110120")
    assert event["event"]["action"] == Action.EXECUTE
    assert json.loads(json.dumps(event, default=str))["source"]["service"] == "ingest"
