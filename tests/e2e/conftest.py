"""What the tests of whole journeys share: the operator's command against the running stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RADBUS = Path(sys.executable).parent / "radbus"


@pytest.fixture
def radbus_command(hospital):
    """Run the command as an operator of this hospital; the local stack is the test's."""

    def run(*arguments: str, status: int = 0, token: bool = True) -> str:
        environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "RADBUS_STACK_ROOT": str(hospital.stack.layout.root),
            "RADBUS_STACK_BASE_PORT": str(hospital.stack.layout.base_port),
            "RADBUS_MACHINES_DIR": hospital.stack.environment()["RADBUS_MACHINES_DIR"],
        } | ({"RADBUS_TOKEN": hospital.token} if token else {})
        done = subprocess.run(
            [str(RADBUS), *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    return run
