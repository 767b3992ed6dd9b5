"""How Triton starts on one machine, out of the Python wheel that carries it, in a Python environment of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from radbus_cli.local import readiness
from radbus_cli.local.errors import ServerMissingError
from radbus_cli.local.layout import HOST, Layout, repository
from radbus_cli.local.programs import Phase, Program

_SHARED_MEMORY_BYTES = 1024 * 1024


def triton(layout: Layout, models: Path) -> Program:
    """Describe Triton with every model of a folder loaded; it ends at once when one of them cannot be.

    A machine that is Python alone has a folder there, too, and no model in it.
    """
    wheel, port = _find_wheel(), layout.port("triton_http")
    folder = layout.folder("triton")
    settings = {
        "model-repository": str(models),
        "model-control-mode": "explicit",
        "backend-directory": str(folder / "backends"),
        "http-address": HOST,
        "http-port": str(port),
        "grpc-address": HOST,
        "grpc-port": str(layout.port("triton_grpc")),
        "metrics-address": HOST,
        "metrics-port": str(layout.port("triton_metrics")),
        "allow-gpu-metrics": "false",
        "exit-timeout-secs": "10",
    }
    python_settings = {
        "shm-default-byte-size": str(_SHARED_MEMORY_BYTES),
        "shm-growth-byte-size": str(_SHARED_MEMORY_BYTES),
        "shm-region-prefix-name": _shared_memory_prefix(layout),
    }
    return Program(
        name="triton",
        phase=Phase.SERVER,
        command=(
            str(wheel.server),
            *(f"--{name}={value}" for name, value in settings.items()),
            *(f"--load-model={path.parent.name}" for path in sorted(models.glob("*/config.pbtxt"))),
            *(f"--backend-config=python,{name}={value}" for name, value in python_settings.items()),
        ),
        ports=(port, layout.port("triton_grpc"), layout.port("triton_metrics")),
        folder=folder,
        is_ready=partial(readiness.http_answers_ok, port, "/v2/health/ready"),
        environment=wheel.environment(),
        stop_wait_s=25,
    )


def write_triton_files(layout: Layout) -> None:
    """Copy the Python backend with the stub of its Python beside it: Triton looks for the stub nowhere else.

    The wheel has no ONNX backend: one in Python stands in for it, and a model's configuration is the same as on a GPU.
    """
    wheel = _find_wheel()
    backends = layout.folder("triton") / "backends"
    files = (each for each in (wheel.triton / "backends" / "python").iterdir() if each.is_file())  # no bytecode
    _copy((*files, wheel.stub), backends / "python")
    for backend in (repository() / "deploy" / "local" / "triton_backends").iterdir():
        _copy(backend.glob("*.py"), backends / backend.name)


def _copy(sources: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        copy = folder / source.name
        if not copy.exists() or copy.stat().st_mtime_ns != source.stat().st_mtime_ns:
            copy.unlink(missing_ok=True)
            shutil.copy2(source, copy)


def remove_shared_memory(layout: Layout) -> None:
    """Remove the segments that a killed Triton left behind."""
    for segment in Path("/dev/shm").glob(f"{_shared_memory_prefix(layout)}*"):  # noqa: S108 -- not a temporary file
        segment.unlink(missing_ok=True)


def _shared_memory_prefix(layout: Layout) -> str:
    return f"radbus{layout.base_port}_"


@dataclass(frozen=True, slots=True)
class _Wheel:
    """The virtual environment that holds Triton's wheel; its numpy must be older than 2, or outputs are empty."""

    environment_folder: Path
    site_packages: Path
    python_version: str
    python_home: Path

    @property
    def triton(self) -> Path:
        return self.site_packages / "pytriton" / "tritonserver"

    @property
    def server(self) -> Path:
        return self.triton / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        return self.triton / "python_backend_stubs" / self.python_version / "triton_python_backend_stub"

    def environment(self) -> dict[str, str]:
        """Give the variables by which the stub finds its libraries, and by PATH the packages of this environment."""
        libraries = (self.site_packages / "nvidia_pytriton.libs", self.python_home.parent / "lib")
        return {
            "PATH": f"{self.environment_folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(str(folder) for folder in libraries),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }


def _find_wheel() -> _Wheel:
    folder = Path(os.environ.get("RADBUS_TRITON_VENV", repository() / ".local" / "triton-venv"))
    site_packages = next(folder.glob("lib/python3.*/site-packages"), None)
    if site_packages is None or not (site_packages / "pytriton" / "tritonserver" / "bin" / "tritonserver").is_file():
        raise ServerMissingError(f"Triton was not found in {folder}: run `make install`, or set RADBUS_TRITON_URL.")
    lines = (folder / "pyvenv.cfg").read_text().splitlines()
    home = next(line.partition("=")[2].strip() for line in lines if line.startswith("home "))
    return _Wheel(
        environment_folder=folder,
        site_packages=site_packages,
        python_version=site_packages.parent.name.removeprefix("python"),
        python_home=Path(home),
    )
