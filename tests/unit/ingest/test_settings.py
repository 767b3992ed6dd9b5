"""What ingest reads from its environment."""

from __future__ import annotations

import pytest
from radbus_ingest.settings import IngestSettings


def test_sources_of_whole_series_are_given_as_a_list_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AMQP_URL", "MONGO_URL", "S3_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY", "MACHINES_DIR"):
        monkeypatch.setenv(f"RADBUS_{name}", "x")
    monkeypatch.setenv("RADBUS_WHOLE_SERIES_SOURCES", "ward, scanner,")

    rules = IngestSettings().completeness

    assert rules.whole_series_sources == {"ward", "scanner"}
    assert rules.quiet_s == 5
