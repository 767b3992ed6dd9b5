"""Use cases in YAML files, one each: the built-in folder and the site's own."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import yaml
from pydantic import ValidationError
from radbus_runtime.strict_yaml import read_strict

from radbus_router.domain.use_cases import UseCase, UseCaseError

_SUFFIXES = (".yaml", ".yml")


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
        content = read_strict(path)
    except OSError as error:
        raise UseCaseError(f"{path}: expected a file that can be read ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        raise UseCaseError(f"{path}: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UseCaseError(f"{path}: expected a map that begins with use_case: <name>")
    try:
        return UseCase.model_validate(content)
    except ValidationError as error:
        raise UseCaseError("\n".join(_faults(path, error))) from error


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
