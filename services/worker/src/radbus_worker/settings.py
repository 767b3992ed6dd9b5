"""What a worker reads from its environment."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr
from radbus_dicom.geometry import MAX_VOLUME_BYTES
from radbus_machines.triton import SharedMemoryUse
from radbus_runtime.settings import ServiceSettings

from radbus_worker.adapters.memory import usable_bytes

_GIB = 1024**3
_COPIES = 4
_LEAST_FOR_A_PROCESS = _GIB


def _unique_name() -> str:
    return f"{socket.gethostname()}-{uuid4().hex[:8]}"


class WorkerSettings(ServiceSettings):
    """Settings of a worker, beside those of every service."""

    drain_s: float = Field(default=60, ge=0, description="How long running tasks may take to end at SIGTERM.")
    pool: str = Field(default="default", description="The pool whose tasks it runs.")
    worker: str = Field(default_factory=_unique_name, description="Its name; no two processes may have the same.")
    slots: int = Field(default=1, ge=1, le=64, description="Tasks that it runs at a time.")
    cpus: int = Field(default=2, ge=1, description="Processes that decode and draw.")
    downloads: int = Field(default=8, ge=1, description="Instances that one task downloads at a time.")
    machines_dir: Path = Field(description="Folder of the machines: */machine.yaml.")
    scratch_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()),
        description="Where a task's private folder is made; the system's folder of temporary files when not given.",
    )
    scratch_low_bytes: int = Field(
        default=_GIB,
        ge=0,
        description="No orders are taken while the disk of private folders has no more than this free; at most a tenth "
        "of the disk.",
    )
    memory_bytes: int = Field(
        default_factory=usable_bytes,
        ge=256 * 1024**2,
        description="Memory that it may use; a slot's share, in four copies, bounds a volume. By default all there is.",
    )
    archive_limit_bytes: int = Field(default=4 * _GIB, gt=0, description="Largest uploaded archive that is opened.")
    archive_inflated_limit_bytes: int = Field(
        default=8 * _GIB, gt=0, description="Largest sum of an uploaded archive's entries."
    )
    triton_url: str = Field(description="Triton's gRPC address, as host:port.")
    triton_in_flight: int = Field(default=2, ge=1, description="Requests to one model at a time.")
    triton_shared_memory: SharedMemoryUse = Field(
        default=SharedMemoryUse.AUTO, description="Large tensors through shared memory: auto (on loopback), on, off."
    )
    triton_silent_s: float = Field(
        default=120,
        gt=0,
        description="A model that answers nobody for so long is not ready; never less than a machine's `timeout_s`.",
    )
    seg_labelmap: bool = Field(
        default=False,
        description="Make each SEG also as a Label Map Segmentation (kind seg_labelmap), which older viewers do not "
        "read.",
    )
    time_zone: ZoneInfo = Field(
        default=ZoneInfo("UTC"),
        description="The site's time zone, as Europe/Zurich, in which outputs say when they were made. Where a source "
        "names its offset from UTC, its DICOM objects go by that.",
    )
    patient_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="The results service's secret by which patients' ids are hashed; without it nothing is compared "
        "with a patient's previous result.",
    )
    lease_s: float = Field(default=10, gt=0, description="How long a lease holds without a renewal.")
    renew_every_s: float = Field(default=3, gt=0, description="How often a lease is renewed.")
    heartbeat_every_s: float = Field(default=2, gt=0, description="How often its slots are announced.")
    pool_limit_s: float = Field(default=300, gt=0, description="Limit of one piece of work in the process pool.")

    @property
    def volume_limit_bytes(self) -> int:
        """How large a task's volumes may be together: decoded, as the machine has it, for Triton, and labelled."""
        return min(MAX_VOLUME_BYTES, self.memory_bytes // self.slots // _COPIES)

    @property
    def process_memory_bytes(self) -> int:
        """How much a process that decodes or draws may have of its own."""
        return max(_LEAST_FOR_A_PROCESS, self.memory_bytes // 2)
