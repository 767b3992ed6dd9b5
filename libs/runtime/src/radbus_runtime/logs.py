"""Logs: JSON lines by structlog, without patient data and without local variables."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace
from radbus_contracts.errors import RadbusError

# What they have to say radbus says itself, once: a lost connection, a request.
_QUIET = {"aiormq": "CRITICAL", "aio_pika": "CRITICAL", "uvicorn.access": "CRITICAL", "uvicorn.error": "WARNING"}
_QUIET |= dict.fromkeys(("pymongo", "urllib3", "asyncio", "httpx2", "httpcore2"), "ERROR")
# What asyncio says of a task or a callback quotes its arguments and the text of its exception from here on.
_QUOTING = re.compile(r"[\n(<:{\[]")
_FIRST = ("timestamp", "level", "service", "event")


def configure_logs(*, service: str, level: str = "INFO") -> None:
    """Send structlog's and the standard library's lines to stdout as JSON."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service(service),
        _add_trace,
        render_exception,
        _what_comes_first,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    foreign = logging.StreamHandler(sys.stdout)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_without_quotes, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[foreign], level=level, force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)


def render_exception(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep an exception's types and places; its text only where radbus wrote it, since others' may quote the data."""
    given = line.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        line["error"] = describe(error)
        line["error_at"] = _places(error)
    return line


def _add_service(service: str) -> structlog.types.Processor:
    def add(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["service"] = service
        return line

    return add


def _add_trace(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
        line["span_id"] = f"{context.span_id:016x}"
    return line


def _without_quotes(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if line["_record"].name == "asyncio":
        line["event"] = _QUOTING.split(line["event"], maxsplit=1)[0].strip()
    return line


def _what_comes_first(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put what every line has before what is its own."""
    return {name: line[name] for name in _FIRST if name in line} | dict(line)


def describe(error: BaseException) -> str:
    """Say an error in one line that holds no patient data."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}[{', '.join(describe(inner) for inner in error.exceptions[:5])}]"
    text = f"{type(error).__name__}: {error}" if isinstance(error, RadbusError) else type(error).__name__
    return f"{text} <- {describe(error.__cause__)}" if error.__cause__ is not None else text


def _places(error: BaseException) -> list[str]:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    places: list[str] = []
    step = error.__traceback__
    while step is not None and len(places) < 50:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    return places[-8:]
