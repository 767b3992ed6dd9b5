"""The policy of retention: the most specific period counts, and a file that does not hold is told with every fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from radbus_runtime.retention.policy import Kept, RetentionError, RetentionPolicy, load_policy

POLICY = """
default: {inputs_days: 400, outputs_days: forever, records_days: forever}
use_cases:
  qct: {inputs_days: 60, outputs_days: 90}
institutions:
  north:
    inputs_days: 30
    use_cases:
      qct: {outputs_days: 7}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "retention.yaml"
        path.write_text(text)
        return path

    return write


def test_without_a_file_everything_is_kept_for_ever():
    policy = load_policy(None)

    assert policy.keeps_everything
    assert policy.kept("north", "qct") == Kept(None, None, None)


@pytest.mark.parametrize(
    ("institution", "use_case", "kept"),
    [
        ("north", "qct", Kept(30, 7, None)),  # inputs: the institution; outputs: both
        ("north", "qer", Kept(30, None, None)),
        ("north", None, Kept(30, None, None)),
        ("south", "qct", Kept(60, 90, None)),
        ("south", "qer", Kept(400, None, None)),
    ],
)
def test_the_most_specific_that_names_a_period_counts(write, institution, use_case, kept):
    policy = load_policy(write(POLICY))

    assert policy.kept(institution, use_case) == kept
    assert not policy.keeps_everything
    assert policy.shortest_days == 7


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default: {inputs_days: -1}", "default.inputs_days: expected a whole number of days from 0"),
        ("default: {inputs_days: 1.5}", "default.inputs_days: expected a whole number"),
        ("default: {inputs_days: yes}", "default.inputs_days: expected a whole number"),
        ("default: {inputs_days: for ever}", "or forever"),
        ("institutions: {north: {inputs: 3}}", "institutions.north.inputs: Extra inputs are not permitted"),
        ("default: {inputs_days: 1}\ndefault: {inputs_days: 2}", "expected the key 'default' once"),
        ("- 1", "expected a map with default, institutions or use_cases"),
        ("default: [", "expected YAML"),
        ("default: {records_days: 10}", "any institution, any other use case: expected records_days to be no less"),
        (
            "default: {inputs_days: 5, outputs_days: 5, records_days: 10}\nuse_cases: {qct: {outputs_days: 11}}",
            "any institution, qct: expected records_days to be no less than inputs_days and outputs_days, got",
        ),
    ],
)
def test_a_file_that_does_not_hold_is_refused_with_what_was_expected(write, text, told):
    with pytest.raises(RetentionError) as refused:
        load_policy(write(text))

    assert told in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RetentionError, match="expected a file that can be read"):
        load_policy(tmp_path / "none.yaml")


def test_a_policy_that_says_forever_throughout_keeps_everything():
    assert RetentionPolicy().keeps_everything
