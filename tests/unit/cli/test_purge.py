"""`radbus purge` and `radbus retention`: what they refuse before anything is reached, and what a policy comes to."""

from __future__ import annotations

import json

import pytest
from radbus_cli.__main__ import app
from radbus_runtime.retention.policy import RetentionError
from typer.testing import CliRunner

NAMED = ("purge", "--institution", "north", "--study", "1.2.3")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("purge", "--study", "1.2.3", "--everything"), "expected --institution"),
        (("purge", "--institution", "north", "--everything"), "--older-than"),
        (NAMED, "expected --everything, or --inputs, --outputs or both"),
        ((*NAMED, "--everything", "--inputs"), "expected --everything, or --inputs, --outputs or both"),
    ],
)
def test_a_purge_that_does_not_say_whose_and_what_is_refused(arguments, told):
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 2
    assert " ".join(told.split()) in " ".join(done.output.replace("│", " ").split())


def test_a_policy_is_told_as_the_days_that_it_comes_to(tmp_path):
    path = tmp_path / "retention.yaml"
    path.write_text("{default: {inputs_days: 30}, use_cases: {qct: {inputs_days: 7, outputs_days: forever}}}")

    done = CliRunner().invoke(app, ["retention", "check", str(path), "--json"])

    other, qct = json.loads(done.stdout)["kept"]
    assert (other["use_case"], other["inputs_days"], other["records_days"]) == (None, 30, None)
    assert (qct["use_case"], qct["inputs_days"], qct["outputs_days"]) == ("qct", 7, None)


def test_a_policy_that_does_not_hold_is_an_error(tmp_path):
    path = tmp_path / "retention.yaml"
    path.write_text("default: {inputs_days: often}")

    done = CliRunner().invoke(app, ["retention", "check", str(path)])

    assert done.exit_code == 1
    assert isinstance(done.exception, RetentionError)
