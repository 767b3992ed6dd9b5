"""The documents name things that exist."""

from __future__ import annotations

import importlib
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from radbus_cli.__main__ import app
from typer.core import TyperGroup
from typer.main import get_command

from tests.chaos.guards import GUARDS

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"`(radbus_[a-z]+(?:\.[A-Za-z_]+)*)`")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))


def names(page: str) -> list[str]:
    return sorted(set(NAME.findall((ROOT / "docs" / page).read_text())))


@pytest.mark.parametrize("name", names("one-series.md") + names("architecture.md"))
def test_a_name_in_the_guides_exists(name):
    module, rest = name, []
    while not _is_module(module):
        module, _, last = module.rpartition(".")
        rest.insert(0, last)
        assert module, f"{name} does not exist"
    found = importlib.import_module(module)

    for part in rest:
        assert hasattr(found, part), f"{name} does not exist"
        found = getattr(found, part)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_names_what_holds_it_and_that_exists(page):
    held_by = page.read_text().partition("**Held by.**")[2]
    places = re.findall(r"`((?:tests/|pyproject)[^`:]*)(?:::(\w+))?`", held_by)

    assert places, "expected **Held by.** with a path"
    for path, test in places:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), test


def test_every_decision_is_listed():
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()

    assert all(page.name in index for page in DECISIONS)


def test_the_page_of_settings_is_made_from_the_code():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)

    assert generate.settings_page() == (ROOT / "docs" / "settings.md").read_text(), "run `make docs`"


def commands_of(page: str) -> list[str]:
    """Every `radbus ...` of a page, as it would be typed."""
    text = (ROOT / "docs" / page).read_text()
    return sorted({*re.findall(r"^\$ (radbus .+)$", text, re.MULTILINE), *re.findall(r"`(radbus [a-z][^`]*)`", text)})


@pytest.mark.parametrize("line", sorted({*commands_of("operating.md"), *commands_of("runbook.md")}))
def test_a_command_in_the_operators_guide_exists_with_its_options(line):
    command, words = get_command(app), shlex.split(line)[1:]

    while isinstance(command, TyperGroup) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}

    assert not isinstance(command, TyperGroup) or command.invoke_without_command, line
    assert {word for word in words if word.startswith("--")} <= options, line


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()
FAULTS = re.findall(r"`(test_\w+\.py)(?: -k (\"[^\"]+\"|[\w]+))?` \|$", RELIABILITY, re.M)
HOLDS = re.findall(r"^\| (\d) \| .+ \| (.+) \|$", RELIABILITY, re.M)


@pytest.mark.parametrize(("file", "chosen"), FAULTS, ids=lambda part: part)
def test_a_fault_that_is_promised_to_be_held_out_has_its_test(file, chosen):
    text = (ROOT / "tests" / "chaos" / file).read_text()

    words = set(chosen.strip('"').split()) - {"and", "or", "not"}
    assert all(word in text for word in words), words


def test_every_test_of_a_fault_is_on_the_page_of_faults():
    files = {path.name for path in (ROOT / "tests" / "chaos").glob("test_*.py")} - {"test_soak.py"}

    assert {file for file, _ in FAULTS} == files


@pytest.mark.parametrize(("number", "tests"), HOLDS, ids=[number for number, _ in HOLDS])
def test_what_always_holds_has_tests_that_exist(number, tests):
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)

    assert ", ".join(f"`{file}::{test}`" for file, test in named) == tests
    assert all(f"def {test}(" in (ROOT / file).read_text() for file, test in named)


def test_nothing_that_always_holds_is_without_a_test():
    assert [number for number, _ in HOLDS] == [str(number) for number in range(1, 10)]


def test_the_guards_on_the_page_are_those_that_are_taken_out_with_the_same_tests():
    rows = re.findall(r"^\| ([^|]+) \| `(tests/[^`]+)` \|$", RELIABILITY, re.M)

    assert rows == [(guard.name, guard.test) for guard in GUARDS]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_where_it_is_taken_out_and_its_test_exists(guard):
    file, _, test = guard.test.partition("::")

    assert (ROOT / guard.file).read_text().count(guard.guarded) == 1
    assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()


FAILURES = re.findall(r"`(\w+/[\w/]+\.py)::(\w+)` \|$", (ROOT / "docs" / "how-parts-fail.md").read_text(), re.M)


@pytest.mark.parametrize(("file", "test"), FAILURES, ids=lambda part: part)
def test_an_answer_to_the_failure_of_a_part_has_its_test(file, test):
    assert f"def {test}(" in (ROOT / "tests" / file).read_text()


def test_every_row_on_the_page_of_failing_parts_names_its_test():
    rows = re.findall(r"^\| (?!how it fails).+\|$", (ROOT / "docs" / "how-parts-fail.md").read_text(), re.M)

    assert len(rows) == len(FAILURES) > 0
