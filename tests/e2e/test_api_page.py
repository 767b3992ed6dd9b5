"""Every block of docs/api.md runs as it stands there: the shell's in their order as one script, Python's each alone."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from radbus_cli.local.stack import LocalStack
from radbus_cli.tokens import create_in
from radbus_testing.phantom_dicom import write_phantom

pytestmark = pytest.mark.stack
PAGE = Path(__file__).parents[2] / "docs" / "api.md"
RADBUS = Path(sys.executable).parent / "radbus"
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 120

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def blocks(language: str) -> Iterator[tuple[str, str]]:
    _, *parts = SECTION.split(PAGE.read_text())
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        yield from ((title, code) for kind, code in BLOCK.findall(text) if kind == language)


@pytest.fixture(scope="module")
def run(radbus: LocalStack, tmp_path_factory, small_chest) -> Run:
    """Run a block as its reader would: in a folder with a study and a registered key, with address and token set."""
    folder = tmp_path_factory.mktemp("page")
    write_phantom(folder / "study", small_chest)
    institution = f"hospital-{uuid.uuid4().hex[:10]}"
    token = asyncio.run(create_in(radbus.environment(), institution=institution, name="page"))
    _register_reader(radbus, folder, institution)
    own = {"RADBUS_URL": radbus.url("front"), "RADBUS_TOKEN": token}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **own}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    return run


@pytest.fixture(scope="module")
def shell(run: Run) -> subprocess.CompletedProcess[str]:
    """Run what the page says to a shell, which also sends the study that Python's blocks ask for."""
    return run("bash", "-euxo", "pipefail", "-c", "\n".join(code for _, code in blocks("sh")))


def test_the_shells_blocks_run(shell):
    assert shell.returncode == 0, shell.stderr[-3000:]


@pytest.mark.parametrize("code", [pytest.param(code, id=title) for title, code in blocks("python")])
def test_a_block_in_python_runs_and_prints_what_it_found(run, shell, code):
    done = run(sys.executable, "-c", code)

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


def test_every_journey_is_there_in_both_languages():
    journeys = set(re.findall(r"^\| \[.+\]\(#(.+)\) \|", PAGE.read_text(), re.MULTILINE))

    for language in ("sh", "python"):
        assert {_anchor(title) for title, _ in blocks(language)} == journeys


def _register_reader(stack: LocalStack, folder: Path, institution: str) -> None:
    key, public = folder / "reader.pem", folder / "reader.pub"
    _succeed("openssl", "genrsa", "-out", str(key), "2048")
    _succeed("openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public))
    own = {"RADBUS_STACK_ROOT": str(stack.layout.root), "RADBUS_STACK_BASE_PORT": str(stack.layout.base_port)}
    _succeed(str(RADBUS), "users", "add", "reader", "--institution", institution, "--public-key", str(public), **own)


def _succeed(*command: str, **own: str) -> None:
    subprocess.run(command, env={**os.environ, **own}, capture_output=True, timeout=60, check=True)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
