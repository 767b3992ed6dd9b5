"""Webhooks, and what they are told (`records` names the collections)."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class WebhookRecord(TypedDict):
    """`webhooks`: whom an institution wants to be told by HTTP; its secret is nowhere (`radbus_runtime.webhooks`)."""

    _id: str
    institution: str
    url: str
    types: list[str]  # of events; empty is any
    use_cases: list[str]  # empty is any
    triage: str | None  # Routine | Critical; any, if none is given
    created_at: datetime


class DeliveryRecord(TypedDict):
    """`deliveries`: one event for one webhook; `_id` is webhook/event."""

    _id: str
    webhook_id: str
    event_id: str
    type: str  # of the event
    institution: str
    job_id: str | None  # None of what no use case is for, and of a test
    study_instance_uid: str  # "" of a test
    series_instance_uids: list[str]
    body: str  # the event as it is sent
    traceparent: str | None
    state: str  # waiting | delivered | failed
    reason: str | None  # why it failed, or why the last try did
    attempts: int  # tries that were begun: the fence of a try
    tries_before: int  # those from before an operator let it be tried again
    asked_at: datetime
    give_up_at: datetime
    try_at: datetime  # when it is due; while it is tried, when the try is believed to have died
    ended_at: datetime | None
