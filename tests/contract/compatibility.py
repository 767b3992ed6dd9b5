"""What may change in a message of a version that was released: fields may be added that nobody must give.

`python -m tests.contract.compatibility` adds what is new to `released_messages.json`, and refuses anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from radbus_contracts import topology

RELEASED = Path(__file__).with_name("released_messages.json")
_WORDS = ("title", "description", "default")


def schemas() -> dict[str, Any]:
    """Return the schema of each fact's and order's data, by its type, without words and without references."""
    facts = (*topology.FACTS, topology.RUN_TASK)
    return {fact.type: _plain(fact.payload.model_json_schema(mode="serialization")) for fact in facts}


def read_schemas() -> dict[str, Any]:
    """Return what a reader takes: here a field that has a default may be missing."""
    facts = (*topology.FACTS, topology.RUN_TASK)
    return {fact.type: _plain(fact.payload.model_json_schema(mode="validation")) for fact in facts}


def released() -> dict[str, dict[str, Any]]:
    """Return what was released: `told` and `read` of each type."""
    kept: dict[str, dict[str, Any]] = json.loads(RELEASED.read_text())
    return kept


def current() -> dict[str, dict[str, Any]]:
    """Return the same of the code as it is."""
    told, read = schemas(), read_schemas()
    return {name: {"told": told[name], "read": read[name]} for name in told}


def faults_of(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Say what in a schema would hurt who reads, or who tells, by the older one."""
    for name, was in (old.get("properties") or {}).items():
        path = f"{where}.{name}" if where else name
        is_now = (new.get("properties") or {}).get(name)
        if is_now is None:
            yield f"{path}: is gone"
            continue
        yield from faults_of(was, is_now, path)
    for name in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield f"{where or 'data'}: {name} need not be given any more"
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{where or 'data'}: {name} must be given now"
    rest = {name: value for name, value in old.items() if name not in ("properties", "required", "items")}
    same = {name: value for name, value in new.items() if name not in ("properties", "required", "items")}
    if rest != same:
        yield f"{where or 'data'}: was {json.dumps(rest)}, is {json.dumps(same)}"
    if "items" in old and "items" in new:
        yield from faults_of(old["items"], new["items"], f"{where}[]")


def incompatible(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what was changed in messages of released versions that may not be."""
    found: list[str] = []
    for kind, was in old.items():
        if kind not in new:
            found.append(f"{kind}: is gone, while a release may still tell or read it")
            continue
        found += [f"{kind}: {fault}" for fault in faults_of(was["read"], new[kind]["read"])]
        told = faults_of(was["told"], new[kind]["told"])
        # What is told always may be told newly: the older release ignores it.
        found += [f"{kind}: {fault} (told)" for fault in told if not fault.endswith("must be given now")]
    return found


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    definitions = schema.get("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return resolved(definitions[value["$ref"].rpartition("/")[2]])
            return {
                name: {key: resolved(each) for key, each in inner.items()} if name == "properties" else resolved(inner)
                for name, inner in value.items()
                if name not in ("$defs", *_WORDS)
            }
        return [resolved(each) for each in value] if isinstance(value, list) else value

    plain: dict[str, Any] = resolved(dict(schema))
    return plain


def main() -> None:
    """Keep what was added."""
    found = incompatible(released() if RELEASED.exists() else {}, current())
    if found:
        raise SystemExit("\n".join([*found, "This needs a new version beside the old one: docs/upgrading.md"]))
    RELEASED.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
