"""Logs hold no patient data and no local variables."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel, ValidationError
from radbus_contracts import facts, orders
from radbus_contracts.envelope import Event, Payload
from radbus_contracts.errors import PermanentError
from radbus_runtime.logs import configure_logs, describe


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave no logger behind that writes to the output of this test."""
    before = logging.getLogger().handlers[:]
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before


class _Strict(BaseModel):
    age: int


def test_an_exception_is_logged_by_type_and_place_without_its_text_or_local_variables(capsys):
    configure_logs(service="test")
    patient_name = "DOE^JANE"

    try:
        _Strict.model_validate({"age": patient_name})
    except ValueError as error:
        structlog.get_logger().error("thing.failed", exc_info=error)

    line = capsys.readouterr().out
    assert json.loads(line)["error"] == "ValidationError"
    assert "test_logs.py" in line
    assert patient_name not in line


def test_the_text_of_an_error_of_radbus_is_kept_with_its_cause():
    error = PermanentError("expected a UID")
    error.__cause__ = KeyError("DOE^JANE")

    assert describe(error) == "PermanentError: expected a UID <- KeyError"


def test_lines_of_other_libraries_are_json_as_well(capsys):
    configure_logs(service="test")

    logging.getLogger("some.library").warning("careful")

    assert json.loads(capsys.readouterr().out)["service"] == "test"


def test_an_exception_of_another_library_is_logged_without_its_text_as_well(capsys):
    configure_logs(service="test")

    try:
        int("DOE^JANE")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")

    line = capsys.readouterr().out
    assert json.loads(line)["error"] == "ValueError"
    assert "DOE" not in line


async def test_a_task_whose_error_nobody_reads_is_logged_without_what_it_was_about(capsys):
    async def fail(patient_name: str) -> None:
        raise ValueError(patient_name)

    configure_logs(service="test")
    task = asyncio.create_task(fail("DOE^JANE"), name="about DOE^JANE")
    await asyncio.wait([task])
    told = {"message": f"Exception in callback {task!r}", "exception": ValueError("DOE^JANE"), "future": task}

    asyncio.get_running_loop().call_exception_handler(told)
    asyncio.get_running_loop().call_exception_handler({**told, "message": "Task exception was never retrieved"})

    lines = capsys.readouterr().out
    assert task.exception() is not None
    assert [json.loads(line)["event"] for line in lines.splitlines()] == [
        "Exception in callback",
        "Task exception was never retrieved",
    ]
    assert "DOE" not in lines


def test_the_servers_access_log_says_nothing_whatever_the_level(capsys):
    configure_logs(service="test", level="DEBUG")

    logging.getLogger("uvicorn.access").warning('192.0.2.7 - "GET /results/DOE^JANE HTTP/1.1" 404')

    assert capsys.readouterr().out == ""


def test_a_message_that_cannot_be_read_is_not_quoted_in_the_error():
    payloads = [each for module in (facts, orders) for each in vars(module).values() if _is_payload(each)]

    quoting = [
        each.__name__
        for each in payloads
        if "DOE" in error_of(each, {name: {"DOE^JANE": "DOE^JANE"} for name in each.model_fields})
    ]

    assert len(payloads) > 10
    assert quoting == []
    assert "DOE" not in error_of(Event[facts.SeriesUnroutedV1], {"data": "DOE^JANE", "time": "DOE^JANE"})


def _is_payload(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, Payload) and each is not Payload


def error_of(model: type[BaseModel], value: object) -> str:
    with pytest.raises(ValidationError) as error:
        model.model_validate(value)
    return str(error.value)
