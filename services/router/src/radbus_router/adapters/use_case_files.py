"""Use cases in YAML files, one each: the built-in folder and the site's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from radbus_router.domain.use_cases import UseCase, UseCaseError

_SUFFIXES = (".yaml", ".yml")
_FILE_LIMIT_BYTES = 256 * 1024
_KEYS_LIMIT = 200


def load_use_cases(*folders: Path) -> tuple[UseCase, ...]:
    """Read every use case of these folders, in the order of folders and file names.

    Raises:
        UseCaseError: A folder is missing or a file does not hold; every fault is told, with file, key and what was
            expected.
    """
    faults: list[str] = []
    found: list[tuple[Path, UseCase]] = []
    for folder in folders:
        if not folder.is_dir():
            faults.append(f"{folder}: expected a folder of use cases")
            continue
        for path in sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES):
            try:
                found.append((path, read_use_case(path)))
            except UseCaseError as error:
                faults.append(str(error))
    faults += _repeated_names(found)
    if not found and not faults:
        faults.append(f"{', '.join(str(folder) for folder in folders)}: expected at least one use case (*.yaml)")
    if faults:
        raise UseCaseError("\n".join(faults))
    return tuple(use_case for _, use_case in found)


def read_use_case(path: Path) -> UseCase:
    """Read one use case.

    Raises:
        UseCaseError: The file cannot be read or does not hold.
    """
    try:
        with path.open("rb") as file:
            given = file.read(_FILE_LIMIT_BYTES + 1)
        if len(given) > _FILE_LIMIT_BYTES:
            raise UseCaseError(f"{path}: expected a file of at most {_FILE_LIMIT_BYTES} bytes")
        content = yaml.load(given, Loader=_StrictLoader)  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        raise UseCaseError(f"{path}: expected a file that can be read ({type(error).__name__})") from error
    except RecursionError:
        raise UseCaseError(f"{path}: expected YAML with fewer lists and maps inside one another") from None
    except yaml.YAMLError as error:
        raise UseCaseError(f"{path}: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UseCaseError(f"{path}: expected a map that begins with use_case: <name>")
    try:
        return UseCase.model_validate(content)
    except ValidationError as error:
        raise UseCaseError("\n".join(_faults(path, error))) from error


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
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"expected the key {key!r} once", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def _refuse_many_keys(self, node: yaml.MappingNode) -> None:
        if len(node.value) > _KEYS_LIMIT:
            text = f"expected at most {_KEYS_LIMIT} keys in a map"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _faults(path: Path, error: ValidationError) -> list[str]:
    return [
        ": ".join(
            filter(None, [str(path), ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")])
        )
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _repeated_names(found: list[tuple[Path, UseCase]]) -> list[str]:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path, use_case in found:
        places[use_case.use_case].append(str(path))
    return [
        f"{paths[-1]}: use_case: expected a name of its own, {name!r} is also in {', '.join(paths[:-1])}"
        for name, paths in places.items()
        if len(paths) > 1
    ]
