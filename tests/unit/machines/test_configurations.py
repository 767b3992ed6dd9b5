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
