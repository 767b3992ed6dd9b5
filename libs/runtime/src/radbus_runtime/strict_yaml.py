"""YAML files that people write by hand, read strictly and with bounds: use cases, policies."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

_FILE_LIMIT_BYTES: Final = 256 * 1024
_KEYS_LIMIT: Final = 1000


def read_strict(path: Path) -> Any:
    """Read plain values from a file.

    Raises:
        OSError: It cannot be read.
        yaml.YAMLError: It is no YAML, a key stands twice, or it holds more than anybody writes by hand.
    """
    with path.open("rb") as file:
        given = file.read(_FILE_LIMIT_BYTES + 1)
    if len(given) > _FILE_LIMIT_BYTES:
        raise yaml.YAMLError(f"expected a file of at most {_FILE_LIMIT_BYTES} bytes")
    try:
        return yaml.load(given, Loader=_StrictLoader)  # noqa: S506 - it is a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("expected fewer lists and maps inside one another") from None


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice: YAML would keep the last, and a condition would be lost without a word.

    What YAML's own constructors raise on a date, a number or a flag that is none gets its place in the file.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the library's signature
        try:
            return super().construct_object(node, deep=deep)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"expected a valid {kind}", node.start_mark) from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        self._refuse_many_keys(node)  # a few maps merged into one another may be millions

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the library's signature
        self._refuse_many_keys(node)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                continue
            if key.value in seen:
                text = f"expected the key {key.value!r} once"
                raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def _refuse_many_keys(self, node: yaml.MappingNode) -> None:
        if len(node.value) > _KEYS_LIMIT:
            text = f"expected at most {_KEYS_LIMIT} keys in a map"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)
