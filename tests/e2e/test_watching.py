"""What an operator sees from outside: one trace of the whole way, and every metric that somebody asks for."""

from __future__ import annotations

import asyncio
import json
import re

import aio_pika
import httpx2
import pytest
from radbus_contracts.topology import EVENTS, INFERENCE_COMPLETED
from radbus_runtime.stages import Stage
from radbus_testing.phantom_dicom import PhantomHeader
from radbus_testing.receiver import WebhookReceiver
from radbus_testing.waiting import eventually

from tests.monitoring import OF_KUBE_STATE_METRICS, asked_for, recorded

pytestmark = pytest.mark.stack

SERVICES = {"ingest", "router", "scheduler", "worker", "results"}
PLACES = ("ingest", "router", "scheduler", "results", "worker-0", "worker-1", "triton_metrics")
TOLD_OF = re.compile(r"^# TYPE (\S+) (\w+)$", re.MULTILINE)


@pytest.fixture
def completed_events(hospital):
    """Hear what is told of completed inferences from now on; gives a function that waits for the one of a series."""
    heard: list[dict] = []

    async def listen(ready: asyncio.Event) -> None:
        connection = await aio_pika.connect(hospital.stack.environment()["RADBUS_AMQP_URL"])
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(EVENTS, f"{INFERENCE_COMPLETED.routing_key}.#")
            ready.set()
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        heard.append(json.loads(message.body))

    async def during(send, uid: str) -> dict:
        ready = asyncio.Event()
        listening = asyncio.create_task(listen(ready))
        try:
            async with asyncio.timeout(120):
                await ready.wait()
                await asyncio.to_thread(send)
                while not (found := [each for each in heard if uid in each["data"]["series_instance_uids"]]):
                    await asyncio.sleep(0.1)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        return found[0]

    return lambda send, uid: asyncio.run(during(send, uid))


def test_one_trace_leads_from_the_last_upload_to_the_webhook_with_every_stage_and_a_link_to_the_other_upload(
    hospital, make_series, collector, completed_events, radbus_command
):
    series, traces = make_series(), []

    def send() -> None:
        for part, complete in ((series.instances[:20], False), (series.instances[20:], True)):
            traces.append(hospital.post_upload(part, complete=complete).headers["x-trace-id"])

    with WebhookReceiver() as receiver:
        radbus_command("webhooks", "add", hospital.institution, receiver.url)
        event = completed_events(send, series.uid)
        (call,) = eventually(lambda: list(receiver.calls), timeout_s=30, what="a call of the webhook")

    first, last = traces
    stages = {stage.value for stage in Stage} - {Stage.STORE}  # the request's own span tells of it

    def roots() -> list[str]:
        spans = collector.trace(last)
        known = {span.span_id for span in spans}
        return [span.name for span in spans if span.parent_id not in known]

    def whole() -> bool:  # a span is sent when it ends: its children are here before it
        spans = collector.trace(last)
        every = {span.service for span in spans} >= SERVICES and {span.name for span in spans} >= {*stages, "webhook"}
        return every and len(roots()) == 1

    eventually(whole, timeout_s=30, what="one trace of all services and stages")
    spans = collector.trace(last)
    assert event["traceparent"].split("-")[1] == last
    (webhook,) = [span for span in spans if span.name == "webhook"]
    assert call.headers["traceparent"].split("-")[1:3] == [last, webhook.span_id]
    assert first in {link for span in spans if span.name == "complete" for link in span.links}
    assert roots() == ["POST /upload"]
    header = PhantomHeader(study_instance_uid=series.study, series_instance_uid=series.uid)
    said = " ".join(value for span in spans for value in span.attributes.values())
    assert header.patient_name not in said
    assert header.patient_id not in said


def test_a_log_line_of_the_work_names_the_trace_and_the_span_that_it_is_of(hospital, make_series, collector):
    series = make_series()
    trace_id = hospital.post_upload(series.instances).headers["x-trace-id"]
    hospital.result(series.uid)

    lines = [
        json.loads(line)
        for path in (hospital.stack.layout.root / "logs").glob("*.log")
        for line in path.read_text(errors="replace").splitlines()
        if trace_id in line and line.startswith("{")
    ]

    assert {line["service"] for line in lines} >= SERVICES
    assert all("span_id" in line for line in lines)
    spans = {span.span_id for span in eventually(lambda: collector.trace(trace_id), timeout_s=10, what="its spans")}
    assert {line["span_id"] for line in lines if line["event"] == "subject.routed"} <= spans


def test_every_query_of_dashboards_and_rules_names_what_a_running_stack_exposes(hospital, make_series):
    series = make_series()
    hospital.upload(series.instances)
    hospital.result(series.uid)

    exposed: set[str] = set()
    for place in PLACES:
        for name, kind in TOLD_OF.findall(httpx2.get(f"{hospital.stack.url(place)}/metrics", timeout=20).text):
            exposed |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    known = exposed | {*recorded(), *OF_KUBE_STATE_METRICS}
    missing = {f"{where}: {name}" for where, name, _ in asked_for() if name not in known}

    assert len(exposed) > 50
    assert not missing


def test_the_time_from_accepting_to_the_result_and_the_waits_are_measured_once_a_series(hospital, make_series):
    def counted(service: str, name: str) -> float:
        places = hospital.stack.replicas_of(service)
        told = [httpx2.get(f"{hospital.stack.url(place)}/metrics", timeout=20).text for place in places]
        lines = [line for text in told for line in text.splitlines()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}_count"))

    names = {
        ("results", "radbus_accepted_to_result_seconds"): 1,
        ("scheduler", "radbus_task_queue_wait_seconds"): 2,  # a task for the lungs, one for the report
        ("scheduler", "radbus_task_dispatch_duration_seconds"): 2,
    }
    before = {key: counted(*key) for key in names}
    series = make_series()
    hospital.upload(series.instances)
    hospital.result(series.uid)

    for key, more in names.items():
        eventually(lambda: counted(*key) == before[key] + more, timeout_s=20, what=str(key))  # noqa: B023
