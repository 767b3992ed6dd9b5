"""The page of limits names settings that exist, with the defaults that they have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from radbus_ingest.settings import IngestSettings
from radbus_worker.settings import WorkerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
SETTING = re.compile(r"`RADBUS_([A-Z_]+)`")
AMOUNT = re.compile(r"([\d,]+)(?: (GiB|MiB|KiB|h|s)\b)?")
UNITS = {"": 1, "s": 1, "h": 3600, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and SETTING.search(line)]


def fields(settings: type[BaseSettings]) -> dict[str, object]:
    return {name.upper(): field.default for name, field in settings.model_fields.items()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: SETTING.search(row)[1])
def test_a_setting_on_the_page_of_limits_exists_and_has_the_default_that_the_page_gives(row):
    known = fields(WorkerSettings) | fields(IngestSettings)
    names = SETTING.findall(row)
    amount = AMOUNT.search(row.split("|", 2)[2])

    assert set(names) <= set(known)
    if amount and isinstance(default := known[names[0]], (int, float)):
        assert int(amount[1].replace(",", "")) * UNITS[amount[2] or ""] == default


def test_the_page_of_limits_names_every_limit_of_an_upload():
    limits = {name for name in fields(IngestSettings) if "LIMIT" in name and not name.startswith("RATE")}

    assert limits <= set(SETTING.findall(PAGE))
