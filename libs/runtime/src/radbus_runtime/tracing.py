"""OpenTelemetry: one trace from the upload to the result, carried in the messages' headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def configure_traces(*, service: str, target: str) -> None:
    """Send spans to a file (`file:<folder>`), a collector (`otlp:<URL>`), or nowhere (`off`).

    Raises:
        SettingsError: `target` is none of these.
    """
    if target == "off":
        return
    kind, _, place = target.partition(":")
    exporter: SpanExporter
    if kind == "file" and place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / f"{service}.jsonl").open("a", buffering=1)
        exporter = ConsoleSpanExporter(out=stream, formatter=_one_line)
    elif kind == "otlp" and place:
        exporter = OTLPSpanExporter(endpoint=place, timeout=5)
    else:
        raise SettingsError("RADBUS_TRACES: expected off, file:<folder> or otlp:<URL>")
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_FLUSH_EVERY_MS))
    trace.set_tracer_provider(provider)


def current_traceparent() -> str | None:
    """Return the W3C trace context of the running span, to be put into a message."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def continued(name: str, traceparent: str | None, attributes: Mapping[str, str] | None = None) -> Iterator[trace.Span]:
    """Run a span that goes on with a message's trace."""
    parent = _propagator.extract({"traceparent": traceparent}) if traceparent else otel_context.get_current()
    with tracer.start_as_current_span(
        name, context=parent, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def _one_line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
