"""What the results service reads from its environment, beside what all services read."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from radbus_runtime.settings import ServiceSettings


class ResultsSettings(ServiceSettings):
    """Settings of the results service."""

    url_lifetime_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600, description="How long a pre-signed URL holds.")
    archive_limit_bytes: int = Field(
        default=2 * 1024**3, ge=1, description="A series with more bytes than this gets no archive."
    )
    archives_at_once: int = Field(default=2, ge=1, description="Archives of series in the making, a replica.")
    archive_wait_s: float = Field(
        default=45, gt=0, description="How long a reader waits for archives; then 503, and their making goes on."
    )
    patient_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Secret by which patients' ids are hashed; without it no inference is found by its patient.",
    )
    webhook_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Secret that the secrets of webhooks are made from; without it no webhook is called.",
    )
    webhook_deadline_s: float = Field(default=10, gt=0, le=30, description="How long a webhook may take to answer.")
    webhook_give_up_s: float = Field(
        default=3 * 24 * 3600, gt=0, description="For how long an event that a webhook does not take is tried again."
    )
    webhooks_at_once: int = Field(default=16, ge=1, description="Calls of webhooks at a time, a replica.")
    retention_file: Path | None = Field(
        default=None, description="The policy of retention (docs/retention.md); without it everything is kept for ever."
    )
    retention_every_s: float = Field(
        default=60, gt=0, description="How often to look for what is to be erased, and to go on with what was begun."
    )
    retention_round_limit: int = Field(
        default=200, ge=1, description="Studies that are looked at, and purges that are carried out, in one round."
    )
    scratch_dir: Path | None = Field(default=None, description="Where archives are made; by default the system's own.")
