"""Which RabbitMQ the stack runs, by one variable."""

from __future__ import annotations

from pathlib import Path

import pytest
from radbus_cli.local import rabbitmq
from radbus_cli.local.errors import ServerMissingError, StackError
from radbus_cli.local.layout import Layout

LAYOUT = Layout(Path("/stack"), 18000)


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("RADBUS_RABBITMQ", raising=False)
    monkeypatch.setattr(rabbitmq, "repository", lambda: tmp_path)
    return tmp_path


def test_a_release_that_is_not_known_is_refused_with_those_that_are(repository, monkeypatch):
    monkeypatch.setenv("RADBUS_RABBITMQ", "5")

    with pytest.raises(StackError, match=r"expected RADBUS_RABBITMQ to be 3\.10 or 4\.3, not '5'"):
        rabbitmq.rabbitmq_command(LAYOUT, "rabbitmqctl")


def test_a_release_that_is_not_installed_says_how_to(repository, monkeypatch):
    monkeypatch.setenv("RADBUS_RABBITMQ", "4.3")

    with pytest.raises(ServerMissingError, match=r"RADBUS_RABBITMQ=4\.3 make install"):
        rabbitmq.rabbitmq_command(LAYOUT, "rabbitmqctl")


def test_the_newer_release_runs_in_its_folder_on_data_of_its_own(repository, monkeypatch):
    older = rabbitmq.rabbitmq_environment(LAYOUT)
    machine = repository / ".local" / "rabbitmq-4.3"
    machine.mkdir(parents=True)
    monkeypatch.setenv("RADBUS_RABBITMQ", "4.3")

    command = rabbitmq.rabbitmq_command(LAYOUT, "rabbitmqctl")

    assert command[1:] == (str(machine), "/stack/rabbitmq", "/usr/lib/rabbitmq/bin/rabbitmqctl")
    assert rabbitmq.rabbitmq_environment(LAYOUT)["RABBITMQ_MNESIA_BASE"] != older["RABBITMQ_MNESIA_BASE"]
