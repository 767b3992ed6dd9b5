"""What the servers of a stack have counted so far: operations, requests, messages and bytes; and what is stored."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient
from radbus_cli.local.stack import LocalStack

Counts = Mapping[str, float]

_GLOBAL = re.compile(r"(\w+) => (\d+)")
_MONGO_OPERATIONS = ("insert", "query", "update", "delete", "getmore", "command")
_MESSAGES = {"messages_received_total": "published", "messages_delivered_total": "delivered"}


def counted(stack: LocalStack) -> Counter[str]:
    """Return all counters by names such as `cpu_s.ingest`, `mongo.update`, `s3.PUT`, `bus.published`."""
    found: Counter[str] = Counter()
    for source in (_processors, _mongo, _s3, _bus):
        found.update(source(stack))
    return found


def _processors(stack: LocalStack) -> Counts:
    found: Counter[str] = Counter()
    for program in stack.status():
        if not program.pid:
            continue
        process = psutil.Process(program.pid)
        name = re.sub(r"-\d+$", "", program.name)
        for each in (process, *process.children(recursive=True)):
            found[f"cpu_s.{name}"] += sum(each.cpu_times()[:2])
    return found


def _mongo(stack: LocalStack) -> Counts:
    environment = stack.environment()
    with MongoClient(environment["RADBUS_MONGO_URL"]) as client:
        status = client.admin.command("serverStatus")
        data = client[environment["RADBUS_MONGO_DATABASE"]].command("dbStats")
    found = {f"mongo.{name}": status["opcounters"][name] for name in _MONGO_OPERATIONS}
    return found | {
        "mongo.bytes_in": status["network"]["bytesIn"],
        "mongo.bytes_out": status["network"]["bytesOut"],
        "mongo.stored_bytes": data["dataSize"],
        "mongo.stored_documents": data["objects"],
    }


def _s3(stack: LocalStack) -> Counts:
    text = httpx2.get(f"http://127.0.0.1:{stack.layout.port('s3_metrics')}/metrics", timeout=10).text
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "SeaweedFS_s3_request_total":
                found[f"s3.{sample.labels['type']}"] += sample.value
            elif sample.name == "SeaweedFS_s3_bucket_traffic_received_bytes_total":
                found["s3.bytes_in"] += sample.value
            elif sample.name == "SeaweedFS_s3_bucket_traffic_sent_bytes_total":
                found["s3.bytes_out"] += sample.value
    return found


def _bus(stack: LocalStack) -> Counts:
    told = stack.rabbitmq_tool("rabbitmqctl", "eval", "rabbit_global_counters:overview().")
    found: Counter[str] = Counter()
    for name, count in _GLOBAL.findall(told):
        if name in _MESSAGES:
            found[f"bus.{_MESSAGES[name]}"] += int(count)
    return found
