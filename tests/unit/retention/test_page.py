"""The page about retention shows a policy that holds."""

from __future__ import annotations

import re
from pathlib import Path

from radbus_runtime.retention.policy import Kept, load_policy

PAGE = Path(__file__).parents[3] / "docs" / "retention.md"


def test_the_policy_on_the_page_of_retention_holds_and_comes_to_what_it_says(tmp_path):
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "retention.yaml"
    path.write_text(example)

    policy = load_policy(path)

    assert policy.kept("north", "qct") == Kept(30, 90, None)
    assert policy.kept("south", "qct") == Kept(60, None, None)
    assert policy.kept("south", "inner-eye") == Kept(400, 30, None)
