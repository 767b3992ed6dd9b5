"""The images: what a Dockerfile names is there, and what it puts into an image starts."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx2
import pytest
from radbus_runtime.settings import ServiceSettings
from radbus_testing.waiting import eventually

from .conftest import ROOT, tool

DOCKERFILES = sorted([*ROOT.glob("services/*/Dockerfile"), ROOT / "cli/Dockerfile", ROOT / "triton_models/Dockerfile"])
SERVICES = [path for path in DOCKERFILES if path.parent.parent.name == "services"]
PROJECTS = {
    tomllib.loads(path.read_text())["project"]["name"]: path.parent
    for pattern in ("libs/*", "services/*", "cli")
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
}


def own_packages(project: Path) -> set[Path]:
    """Give a project of this repository with all others that it needs."""
    found, wanted = set(), [project]
    while wanted:
        folder = wanted.pop()
        if folder not in found:
            found.add(folder)
            needed = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
            wanted += [PROJECTS[name] for name in needed if name in PROJECTS]
    return found


def copied(dockerfile: Path) -> list[str]:
    """Give what a Dockerfile copies out of the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.M)
    return [source for line in lines for source in line.split()[:-1]]


def named(path: Path) -> str:
    return path.parent.name


def test_hadolint_finds_nothing():
    done = tool("hadolint", *map(str, DOCKERFILES))

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=named)
def test_what_is_copied_is_there_and_not_ignored(dockerfile):
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert copied(dockerfile)
    for source in copied(dockerfile):
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in kept), source


@pytest.mark.parametrize("dockerfile", [each for each in DOCKERFILES if each.parent.name != "triton_models"], ids=named)
def test_an_image_has_its_own_project_with_what_it_needs_and_nothing_else(dockerfile):
    expected = {str(path.relative_to(ROOT)) for path in own_packages(dockerfile.parent)}
    text = dockerfile.read_text().replace("\\\n", " ")
    folders = {source for source in copied(dockerfile) if (ROOT / source / "pyproject.toml").exists()}
    lists = {
        source.removesuffix("/pyproject.toml") for source in copied(dockerfile) if source.endswith("/pyproject.toml")
    }
    installed = set(re.search(r"install\.sh own (.+) /opt/radbus/own$", text, re.M).group(1).split())

    assert folders == lists == installed == expected


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=named)
def test_an_image_is_of_fixed_bases_labelled_and_not_of_root(dockerfile):
    text = dockerfile.read_text()
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M).group(1)

    assert all(":" in base or base in ("tools",) for base in re.findall(r"^FROM (\S+)", text, re.M))
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.M)
    assert f"ARG VERSION={version}\n" in text
    for label in ("title", "description", "version", "revision", "licenses", "base.name"):
        assert f"org.opencontainers.image.{label}=" in text
    assert re.search(r"^HEALTHCHECK ", text, re.M)


@pytest.mark.parametrize("dockerfile", SERVICES, ids=named)
def test_an_image_of_a_service_runs_it_and_asks_its_health(dockerfile):
    text, port = dockerfile.read_text(), ServiceSettings.model_fields["http_port"].default

    assert f'CMD ["python", "-m", "radbus_{dockerfile.parent.name}"]' in text
    assert f"EXPOSE {port}\n" in text
    assert f"http://127.0.0.1:{port}/healthz" in text


def test_the_tools_are_those_of_the_installation():
    version = re.search(r"^readonly uv_version=(.+)$", (ROOT / "deploy/local/install.sh").read_text(), re.M).group(1)

    assert f"\nuv=={version} " in (ROOT / "deploy/images/build-requirements.lock").read_text()


@pytest.mark.timeout(900)
def test_what_the_router_s_image_is_made_of_starts_without_anything_else(tmp_path):
    build = tmp_path / "build"
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "venv", "--quiet", "--seed", "--python", sys.executable, str(build)]
    subprocess.run(command, check=True, timeout=240)
    environment = {**os.environ, "PATH": f"{build}/bin:{os.environ['PATH']}"}
    environment.pop("VIRTUAL_ENV", None)
    text = (ROOT / "services/router/Dockerfile").read_text()
    for line in re.findall(r"^RUN (deploy/images/install\.sh .+)$", text, re.M):
        command = line.replace("/opt/radbus", str(tmp_path / "radbus")).split()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=280)
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    given = {
        "PYTHONPATH": f"{tmp_path}/radbus/own:{tmp_path}/radbus/packages",
        "RADBUS_USE_CASES_DIR": str(ROOT / "services/router/use_cases"),
        "RADBUS_HTTP_PORT": str(port),
        **dict.fromkeys(("RADBUS_S3_ACCESS_KEY", "RADBUS_S3_SECRET_KEY"), "none"),
        "RADBUS_AMQP_URL": "amqp://127.0.0.1:1/",
        "RADBUS_MONGO_URL": "mongodb://127.0.0.1:1/",
        "RADBUS_S3_URL": "http://127.0.0.1:1",
    }

    # Without `site`: nothing but what the image has and the standard library.
    router = subprocess.Popen([sys.executable, "-S", "-m", "radbus_router"], cwd=tmp_path, env=given)
    try:
        health = eventually(lambda: _asked(port, "/healthz"), timeout_s=400, what="answer")
        ready = _asked(port, "/readyz")
    finally:
        router.terminate()
        router.wait(timeout=60)

    assert health.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["checks"]["rabbitmq"] != "ok"


def _asked(port: int, path: str) -> httpx2.Response | None:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=20)
    except httpx2.HTTPError:
        return None
