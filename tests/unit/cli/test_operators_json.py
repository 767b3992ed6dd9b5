"""What an operator's command says, it says as JSON as well: scripts of a hospital read it."""

from __future__ import annotations

import pytest
from radbus_cli.__main__ import app
from typer.core import TyperGroup
from typer.main import get_command

TOOLS = [
    *(f"dead {name}" for name in ("list", "show", "replay", "drop")),
    *(f"jobs {name}" for name in ("retry", "cancel", "rerun")),
    *("jobs", "audit", "purge", "purge status", "trail list", "doctor"),
]


@pytest.mark.parametrize("tool", TOOLS)
def test_each_of_the_operators_tools_speaks_json(tool):
    command = get_command(app)
    for word in tool.split():
        assert isinstance(command, TyperGroup)
        command = command.commands[word]

    assert "--json" in {option for parameter in command.params for option in parameter.opts}
