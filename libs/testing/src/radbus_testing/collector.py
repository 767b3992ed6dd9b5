"""A collector of spans for tests: OTLP over HTTP on loopback, in memory, bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from radbus_testing.loopback import LoopbackServer

_TRACES_KEPT = 2000
_SPANS_OF_A_TRACE = 2000


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it was sent; ids in hexadecimal, attributes as text, `links` the ids of other traces."""

    service: str
    name: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    links: frozenset[str]
    duration_s: float


class Collector(LoopbackServer):
    """Takes what the services export and keeps the latest traces."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, list[Span]] = OrderedDict()
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            """Answers what an exporter sends."""

            def do_POST(self) -> None:
                """Take one export."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(Handler)

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of one export."""
        for resource in request.resource_spans:
            of = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    kept = Span(
                        service=of.get("service.name", ""),
                        name=span.name,
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        attributes={each.key: str(each.value) for each in span.attributes},
                        links=frozenset(link.trace_id.hex() for link in span.links),
                        duration_s=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    )
                    self._keep(span.trace_id.hex(), kept)

    def _keep(self, trace_id: str, span: Span) -> None:
        with self._lock:
            spans = self._traces.setdefault(trace_id, [])
            if len(spans) < _SPANS_OF_A_TRACE:
                spans.append(span)
            self._traces.move_to_end(trace_id)
            while len(self._traces) > _TRACES_KEPT:
                self._traces.popitem(last=False)

    def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of one trace that have come so far."""
        with self._lock:
            return list(self._traces.get(trace_id, ()))
