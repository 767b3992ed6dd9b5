"""What the ingest service reads from its environment: when series are complete, and the limits of what is taken in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode
from radbus_dicom.zips import ZipLimits
from radbus_runtime.settings import ServiceSettings

from radbus_ingest.adapters.resources import memory_limit_bytes
from radbus_ingest.domain.completeness import CompletenessRules
from radbus_ingest.domain.limits import GateLimits, Limits, Watermarks

_MIB = 1024 * 1024
_GIB = 1024 * _MIB


def _names(value: object) -> object:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class IngestSettings(ServiceSettings):
    """Settings of the ingest service."""

    quiet_s: float = Field(default=5, ge=0, description="A series is complete when nothing came for this long.")
    study_quiet_s: float = Field(default=5, ge=0, description="A study is complete this long after its last series.")
    sweep_every_s: float = Field(default=0.25, gt=0, description="How often to look for series that became quiet.")
    whole_series_sources: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=(),
        description="Workspaces or token names, comma separated, whose requests each hold a whole series; * is all.",
    )
    request_limit_bytes: int = Field(default=8 * _GIB, gt=0, description="Largest body of one request; 413 above.")
    part_limit_bytes: int = Field(default=4 * _GIB, gt=0, description="Largest instance or zip.")
    part_count_limit: int = Field(default=20_000, gt=0, description="Most instances in one request; 413 above.")
    zip_entry_limit: int = Field(default=20_000, gt=0, description="Most entries of one zip.")
    zip_inflated_limit_bytes: int = Field(
        default=16 * _GIB, gt=0, description="Largest sum of the entries of all zips in a request."
    )
    zip_ratio_limit: int = Field(default=200, gt=0, description="How much larger than itself a large zip may become.")
    parts_at_a_time: int = Field(default=8, ge=1, description="Instances of one request that are stored at a time.")
    spool_dir: Path | None = Field(default=None, description="Folder of temporary files; the system's when not given.")
    spool_part_memory_bytes: int = Field(default=_MIB, ge=0, description="A larger instance waits in a file.")
    spool_memory_bytes: int = Field(default=48 * _MIB, ge=0, description="Above this sum all instances wait in files.")
    in_flight_limit_bytes: int = Field(
        default=16 * _GIB, gt=0, description="While more bytes than this wait to be stored, requests are refused: 503."
    )
    requests_limit: int = Field(
        default=200,
        ge=1,
        description="Requests taken in at a time, of one institution three quarters of them; 503 above.",
    )
    admission_wait_s: float = Field(
        default=2, ge=0, description="How long a request waits for a place, and a body for room, before it is 503."
    )
    admission_every_s: float = Field(default=2, gt=0, description="How often to measure what the settings below limit.")
    retry_after_least_s: int = Field(
        default=5, ge=1, le=60, description="Least Retry-After of what is refused; longer the more waits, to 120 s."
    )
    disk_low_bytes: int = Field(
        default=_GIB,
        ge=0,
        description="503 while the disk of temporary files has no more than this free; at most a tenth of the disk.",
    )
    disk_high_bytes: int = Field(default=2 * _GIB, gt=0, description="When so much is free, requests are taken again.")
    memory_limit_share: float = Field(
        default=0.85, gt=0, le=1, description="503 while this process has more of its memory limit than this."
    )
    memory_limit_bytes: int | None = Field(
        default=None, gt=0, description="The memory limit; by default the container's, else the machine's memory."
    )
    store_full_s: float = Field(default=30, gt=0, description="How long to refuse after the object store was full.")
    outbox_limit: int = Field(
        default=10_000, ge=1, description="503 while so many records wait for the bus to take their events."
    )
    tasks_waiting_limit: int = Field(
        default=2_000,
        ge=1,
        description="While so many tasks wait for workers, institutions with their share of them or more are refused.",
    )
    urgent_sources: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=(), description="Workspaces or token names, comma separated, not refused however many tasks wait."
    )
    body_idle_s: float = Field(default=60, gt=0, description="How long to wait for the next bytes of a body; then 408.")
    body_least_bytes_per_s: int = Field(
        default=1024, ge=0, description="Least rate at which a body comes, averaged over RADBUS_BODY_IDLE_S; else 408."
    )
    body_s: float = Field(default=14_400, gt=0, description="How long a whole body may take; then 408.")
    machines_dir: Path = Field(description="Folder with the machines' manifests, */machine.yaml.")
    run_repeat_s: float = Field(
        default=300, ge=0, description="The same model on the same zip is the same run when asked for again so soon."
    )
    run_erase_after_s: float = Field(
        default=86_400, gt=0, description="A run's zip is erased so late when the end of its job was not heard."
    )
    run_sweep_every_s: float = Field(default=600, gt=0, description="How often to look for zips of such runs.")
    dicomweb_url: str | None = Field(
        default=None, description="Where clients reach DICOMweb, for RetrieveURL; the request's own address by default."
    )

    @field_validator("disk_high_bytes")
    @classmethod
    def _is_above_low(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("disk_low_bytes", 0):
            raise ValueError("expected RADBUS_DISK_LOW_BYTES or more")
        return value

    @property
    def limits(self) -> Limits:
        """The limits of what one request may hold."""
        return Limits(
            request_bytes=self.request_limit_bytes,
            part_bytes=self.part_limit_bytes,
            part_count=self.part_count_limit,
            zips=ZipLimits(self.zip_entry_limit, self.zip_inflated_limit_bytes, self.zip_ratio_limit),
            body_s=self.body_s,
            body_idle_s=self.body_idle_s,
            body_least_bytes_per_s=self.body_least_bytes_per_s,
        )

    @property
    def gate_limits(self) -> GateLimits:
        """How much may be inside at a time."""
        return GateLimits(
            requests=self.requests_limit,
            waiting_bytes=self.in_flight_limit_bytes,
            wait_s=self.admission_wait_s,
            retry_after_least_s=self.retry_after_least_s,
            urgent_sources=frozenset(self.urgent_sources),
        )

    @property
    def watermarks(self) -> Watermarks:
        """When what is behind is too full."""
        return Watermarks(
            disk_low_bytes=self.disk_low_bytes,
            disk_high_bytes=self.disk_high_bytes,
            memory_bytes=round(self.memory_limit_share * (self.memory_limit_bytes or memory_limit_bytes())),
            tasks=self.tasks_waiting_limit,
            untold=self.outbox_limit,
            store_full_s=self.store_full_s,
            every_s=self.admission_every_s,
        )

    @property
    def completeness(self) -> CompletenessRules:
        """When a series or a study counts as complete."""
        return CompletenessRules(
            quiet_s=self.quiet_s,
            study_quiet_s=self.study_quiet_s,
            whole_series_sources=frozenset(self.whole_series_sources),
        )
