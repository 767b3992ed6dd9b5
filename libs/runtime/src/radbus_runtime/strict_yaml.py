"""YAML in which a key stands once: YAML itself would keep the last, and something would be lost without a word."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


def load_strict(text: bytes) -> Any:
    """Read plain values of YAML.

    Raises:
        yaml.YAMLError: It is none, or a key stands twice.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a SafeLoader


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the library's signature
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"expected the key {key!r} once", node.start_mark)
        return super().construct_mapping(node, deep=deep)
