"""Where spans go, and how what comes from several requests is tied together."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from radbus_runtime.settings import SettingsError
from radbus_runtime.tracing import _exporters, _link, continued, current_traceparent

COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch):
    monkeypatch.delenv(COLLECTOR, raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)


def kinds(target: str) -> list[type]:
    return [type(exporter) for exporter in _exporters("test", target)]


def test_without_a_collector_in_the_environment_spans_go_nowhere():
    assert kinds("env") == []


def test_a_collector_that_the_environment_names_gets_the_spans_beside_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv(COLLECTOR, "http://127.0.0.1:1")

    assert kinds("env") == [OTLPSpanExporter]
    assert kinds(f"file:{tmp_path}") == [ConsoleSpanExporter, OTLPSpanExporter]
    assert kinds("off") == []


def test_a_collector_of_the_settings_is_asked_alone(monkeypatch):
    monkeypatch.setenv(COLLECTOR, "http://127.0.0.1:1")

    assert kinds("otlp:http://127.0.0.1:2/v1/traces") == [OTLPSpanExporter]


@pytest.mark.parametrize("target", ["", "file:", "otlp:", "somewhere"])
def test_what_is_no_place_for_spans_is_refused(target):
    with pytest.raises(SettingsError):
        _exporters("test", target)


def test_a_message_goes_on_with_the_trace_that_it_came_with():
    with continued("consume", f"00-{TRACE}-{SPAN}-01", links=[]):
        inside = current_traceparent()

    assert inside is not None
    assert inside.split("-")[1] == TRACE


def test_a_link_names_the_span_of_another_request():
    linked = _link(f"00-{TRACE}-{SPAN}-01").context

    assert (f"{linked.trace_id:032x}", f"{linked.span_id:016x}") == (TRACE, SPAN)
