"""What a use case's file may say, and what is answered where it does not hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from radbus_contracts.facts import Priority, Scope
from radbus_router.adapters.use_case_files import load_use_cases
from radbus_router.domain import Compute, UseCaseError
from radbus_router.settings import RouterSettings

BUILT_IN = Path(__file__).parents[3] / "services" / "router" / "use_cases"

GOOD = """
use_case: lungs
version: 1
title: Lungs
when:
  modality: series.Modality == "CT"
tasks:
  - {id: lungs, machine: lung-ct}
"""


def test_the_built_in_use_cases_hold() -> None:
    names = [use_case.use_case for use_case in load_use_cases(BUILT_IN)]

    assert names == ["qct", "qer", "qxr"]


def test_the_example_of_the_readme_holds(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", (BUILT_IN.parent / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.yaml").write_text(example)

    [use_case] = load_use_cases(tmp_path)

    assert set(use_case.tasks[0].channels) == {"t1c", "flair"}


def test_a_use_case_without_optional_keys_is_routine_automatic_and_for_series_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "lungs.yaml").write_text(GOOD)

    [use_case] = load_use_cases(tmp_path)

    assert (use_case.scope, use_case.priority, use_case.compute) == (Scope.SERIES, Priority.ROUTINE, Compute.AUTOMATIC)
    assert use_case.sources == ("*",)
    assert use_case.triage.critical is None


@pytest.mark.parametrize(
    ("find", "put", "told"),
    [
        ("version: 1", "version: 0", ["version", "greater than or equal to 1"]),
        ("version: 1", "version: 1\nmode: fast", ["mode", "not permitted"]),
        ("version: 1", "version: 1\ncompare: {with: best}", ["compare.with", "previous"]),
        ("version: 1", "version: 1\ncompare: {}", ["compare.with", "required"]),
        ("title: Lungs\n", "", ["title", "required"]),
        ("use_case: lungs", "use_case: Lungs.1", ["use_case", "pattern"]),
        ("use_case: lungs", "use_case: not_implemented", ["use_case", "another name"]),
        ('series.Modality == "CT"', "series.Modality ==", ["when.modality", "not a CEL expression"]),
        ('series.Modality == "CT"', "7", ["when.modality", "expected a CEL expression"]),
        ('series.Modality == "CT"', 'serie.Modality == "CT"', ["when.modality", "series", "serie"]),
        ('series.Modality == "CT"', 'study.Modality == "CT"', ["when.modality", "got study"]),
        ('series.Modality == "CT"', "series.Modality.lowercase() > 1", ["when.modality", "lowercase()"]),
        ("  modality:", "  source:", ["when.source", "another name"]),
        ("tasks:", "priority_when: {stat: 'sauce.workspace == 1'}\ntasks:", ["priority_when.stat", "sauce"]),
        ("tasks:", "triage: {critical: 'lung.index > 1'}\ntasks:", ["triage.critical", "lungs", "got lung"]),
        ("tasks:", "priority: urgent\ntasks:", ["priority", "'routine', 'high' or 'stat'"]),
        ("tasks:", "compute: never\ntasks:", ["compute", "'automatic' or 'on-request'"]),
        ("tasks:", "sources: []\ntasks:", ["sources", "at least 1"]),
        ("{id: lungs, machine: lung-ct}", "{id: lungs, machine: a, needs: [heart]}", ["tasks.lungs.needs", "heart"]),
        ("{id: lungs, machine: lung-ct}", "{id: lungs, machine: a, needs: [lungs]}", ["tasks", "circle"]),
        ("title: Lungs", "title: Lungs\nscope: archive", ["scope", "'series'", "'study'"]),
        (
            "{id: lungs, machine: lung-ct}",
            "{id: lungs, machine: a, channels: {ct: 'series.Modality == 1'}}",
            ["tasks.lungs.channels", "expected scope: study"],
        ),
        (
            "{id: lungs, machine: lung-ct}",
            "{id: lungs, machine: a, channels: {ct: 'study.Modality == 1'}}",
            ["tasks.lungs.channels.ct", "series", "got study"],
        ),
        (
            "{id: lungs, machine: lung-ct}",
            "{id: lungs, machine: a, channels: {ct: 'series.Modality =='}}",
            ["channels.ct", "not a CEL expression"],
        ),
        (
            "{id: lungs, machine: lung-ct}",
            "{id: lungs, machine: a, channels: {c.t: 'series.Modality == 1'}}",
            ["tasks.0.channels.c.t", "pattern"],
        ),
        ("{id: lungs, machine: lung-ct}", "{id: my-lungs, machine: a}", ["tasks.0.id", "pattern"]),
        (
            "- {id: lungs, machine: lung-ct}",
            "- {id: lungs, machine: a}\n  - {id: lungs, machine: b}",
            ["tasks", "'lungs' is there 2 times"],
        ),
        ("title: Lungs", "title: Lungs\ntitle: Heart", ["YAML", "the key 'title' once"]),
        ("title: Lungs", "title: [Lungs", ["YAML", "line"]),
        (GOOD, "- lungs", ["expected a map"]),
    ],
)
def test_a_file_that_does_not_hold_is_refused_with_file_key_and_what_was_expected(
    tmp_path: Path, find: str, put: str, told: list[str]
) -> None:
    assert find in GOOD
    (tmp_path / "mine.yaml").write_text(GOOD.replace(find, put))

    with pytest.raises(UseCaseError) as refused:
        load_use_cases(tmp_path)

    assert "mine.yaml" in str(refused.value)
    assert [part for part in told if part not in str(refused.value)] == []


def test_names_that_an_expression_binds_itself_are_no_faults(tmp_path: Path) -> None:
    expression = "series.ImageType.exists(value, value == 'AXIAL')"
    (tmp_path / "lungs.yaml").write_text(GOOD.replace('series.Modality == "CT"', expression))

    [use_case] = load_use_cases(tmp_path)

    assert use_case.when["modality"].expression == expression


def test_a_site_adds_use_cases_of_its_own_to_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "lungs.yml").write_text(GOOD)

    names = [use_case.use_case for use_case in load_use_cases(BUILT_IN, tmp_path)]

    assert names == ["qct", "qer", "qxr", "lungs"]


def test_a_name_is_taken_once_over_all_folders_and_both_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD.replace("use_case: lungs", "use_case: qct"))

    with pytest.raises(UseCaseError) as refused:
        load_use_cases(BUILT_IN, tmp_path)

    assert "mine.yaml" in str(refused.value)
    assert "qct.yaml" in str(refused.value)


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("version: 1", "version: 0"))
    (tmp_path / "b.yaml").write_text(GOOD.replace("title: Lungs", "title: ''"))

    with pytest.raises(UseCaseError) as refused:
        load_use_cases(tmp_path, tmp_path / "nowhere")

    told = str(refused.value).splitlines()
    assert ["a.yaml" in told[0], "b.yaml" in told[1], "expected a folder" in told[2]] == [True, True, True]


def test_no_use_case_at_all_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(UseCaseError, match="at least one use case"):
        load_use_cases(tmp_path)


def test_an_empty_setting_is_no_folder_of_the_sites_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AMQP_URL", "MONGO_URL", "S3_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.setenv(f"RADBUS_{name}", "x")
    monkeypatch.setenv("RADBUS_USE_CASES_DIR", str(BUILT_IN))
    monkeypatch.setenv("RADBUS_SITE_USE_CASES_DIR", "")

    settings = RouterSettings()

    assert settings.use_case_folders == (BUILT_IN,)
