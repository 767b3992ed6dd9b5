"""A service's spans reach the collector that the environment names, with their links."""

from __future__ import annotations

import subprocess
import sys

from radbus_testing.collector import Collector
from radbus_testing.waiting import eventually

TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"
SERVICE = f"""
from opentelemetry import trace
from radbus_runtime.stages import Stage, stage
from radbus_runtime.tracing import configure_traces, continued

configure_traces(service="test", target="env")
links = ["00-{OTHER}-b7ad6b7169203331-01"]
with continued("consume", "00-{TRACE}-b7ad6b7169203331-01", links=links), stage(Stage.INFER, machine="lung-ct"):
    pass
trace.get_tracer_provider().shutdown()
"""


def test_a_services_spans_reach_the_collector_that_the_environment_names():
    with Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        subprocess.run([sys.executable, "-c", SERVICE], env=environment, check=True, timeout=120)
        spans = eventually(lambda: collector.trace(TRACE), timeout_s=10, what="spans")

    by_name = {span.name: span for span in spans}
    assert {span.service for span in spans} == {"test"}
    assert by_name["infer"].parent_id == by_name["consume"].span_id
    assert by_name["consume"].links == {OTHER}
    assert "lung-ct" in by_name["infer"].attributes["radbus.machine"]
