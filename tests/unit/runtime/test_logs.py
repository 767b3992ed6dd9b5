"""Logs hold no patient data and no local variables."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import BaseModel
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
