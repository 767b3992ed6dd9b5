"""The configurations of Triton's models: what stalls an idle server is in none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIGURATIONS = [*ROOT.glob("triton_models/*/config.pbtxt"), *ROOT.glob("tests/site/machines/*/config.pbtxt")]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_no_model_has_a_timeout_in_its_queue(path):
    text = path.read_text()

    assert "default_timeout_microseconds" not in text
    assert "max_queue_size" not in text


@pytest.mark.parametrize("path", sorted(ROOT.glob("triton_models/*/config.pbtxt")), ids=lambda path: path.parent.name)
def test_a_model_looks_at_something_before_it_is_ready_and_batches_what_can_be_joined(path):
    text = path.read_text()

    assert "model_warmup" in text
    assert ("dynamic_batching" in text) is ("max_batch_size: 0" not in text)
    assert "dynamic_batching" in text or "No dynamic batching:" in text  # with the reason
