"""OpenTelemetry: one trace from the upload to the result, carried in the messages' headers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from radbus_runtime.settings import SettingsError

tracer = trace.get_tracer("radbus")
_propagator = TraceContextTextMapPropagator()
_FLUSH_EVERY_MS = 500
_OTEL_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def configure_traces(*, service: str, target: str) -> None:
    """Send spans to a file (`file:<folder>`), to a collector (`otlp:<URL>`), or nowhere (`off`).

    A collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names gets them, too, beside a file; `env` is that alone. There are
    spans in any case, so that log lines and messages name their trace wherever it is kept.

    Raises:
        SettingsError: `target` is none of these.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    for exporter in _exporters(service, target):
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_FLUSH_EVERY_MS))
    trace.set_tracer_provider(provider)


def _exporters(service: str, target: str) -> list[SpanExporter]:
    kind, _, place = target.partition(":")
    if target == "off":
        return []
    if kind == "otlp" and place:
        return [OTLPSpanExporter(endpoint=place, timeout=5)]
    collectors: list[SpanExporter] = [OTLPSpanExporter()] if any(map(os.environ.get, _OTEL_ENDPOINTS)) else []
    if target == "env":
        return collectors
    if kind == "file" and place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / f"{service}.jsonl").open("a", buffering=1)
        return [ConsoleSpanExporter(out=stream, formatter=_one_line), *collectors]
    raise SettingsError("RADBUS_TRACES: expected env, off, file:<folder> or otlp:<URL>")


def current_traceparent() -> str | None:
    """Return the W3C trace context of the running span, to be put into a message."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def continued(
    name: str,
    traceparent: str | None,
    attributes: Mapping[str, str] | None = None,
    *,
    links: Sequence[str] = (),
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
) -> Iterator[trace.Span]:
    """Run a span that goes on with a message's trace; `links` are traceparents of others that it comes from, too."""
    parent = _propagator.extract({"traceparent": traceparent}) if traceparent else otel_context.get_current()
    with tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=attributes,
        links=[_link(each) for each in links if each != traceparent],
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def _link(traceparent: str) -> trace.Link:
    return trace.Link(trace.get_current_span(_propagator.extract({"traceparent": traceparent})).get_span_context())


def _one_line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
