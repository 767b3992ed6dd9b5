"""A service as a program of its own, for tests that speak to it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from radbus_runtime.settings import ServiceSettings

from radbus_testing.waiting import eventually

_READY_S = 60.0
_END_S = 30.0


@contextmanager
def service_running(
    name: str, environment: Mapping[str, str], *, port: int, log: Path, arguments: Sequence[str] = ()
) -> Iterator[str]:
    """Start `radbus_<name>`, give its address once it is ready, and end it by SIGTERM, which it must obey cleanly."""
    own = {"RADBUS_HTTP_PORT": str(port), "RADBUS_TRACES": "off"}
    with log.open("wb") as out:
        program = subprocess.Popen(
            [sys.executable, "-m", f"radbus_{name}", *arguments],
            env={**os.environ, **environment, **own},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        if program.poll() is not None:
            raise RuntimeError(f"{name} ended: {log.read_text()[-2000:]}")
        return answers(f"{url}/readyz")

    try:
        eventually(is_ready, timeout_s=_READY_S, what=f"ready {name}")
        yield url
    finally:
        program.terminate()
        code = program.wait(_END_S)
    if code != 0:
        raise RuntimeError(f"{name} ended with {code}: {log.read_text()[-2000:]}")


def settings_of(environment: Mapping[str, str]) -> ServiceSettings:
    """Read the settings that all services share from an environment that is not this process's own."""
    own = {name.removeprefix("RADBUS_").lower(): value for name, value in environment.items()}
    return ServiceSettings.model_validate({name: own[name] for name in ServiceSettings.model_fields if name in own})


def answers(url: str) -> bool:
    """Say whether an address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address of this test's own
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def python_path(folder: Path) -> str:
    """Return a PYTHONPATH with a folder before what is on it: that of the tests' own process stays, and so its code."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
