"""What the scheduler reads from its environment."""

from __future__ import annotations

import pytest
from radbus_runtime.settings import SettingsError, load
from radbus_scheduler.settings import SchedulerSettings

NEEDED = {
    "RADBUS_AMQP_URL": "amqp://127.0.0.1/",
    "RADBUS_MONGO_URL": "mongodb://127.0.0.1/",
    "RADBUS_S3_URL": "http://127.0.0.1",
    "RADBUS_S3_ACCESS_KEY": "key",
    "RADBUS_S3_SECRET_KEY": "secret",
    "RADBUS_MACHINES_DIR": "/machines",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_weights_are_a_json_object(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RADBUS_WEIGHTS", '{"north": 2.5}')

    settings = load(SchedulerSettings)

    assert settings.policy.weight("north") == 2.5
    assert settings.policy.weight("south") == 1


def test_a_weight_that_is_not_above_zero_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RADBUS_WEIGHTS", '{"north": 0}')

    with pytest.raises(SettingsError, match="RADBUS_WEIGHTS"):
        load(SchedulerSettings)
