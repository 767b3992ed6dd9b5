"""Where the stores are."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class DocumentSettings(BaseModel):
    """How to reach MongoDB."""

    model_config = ConfigDict(frozen=True)

    url: SecretStr
    database: str = "radbus"
    timeout_s: float = Field(default=10, gt=0, description="Deadline of one operation, retries included.")
    pool_size: int = Field(default=50, ge=1)


class ObjectSettings(BaseModel):
    """How to reach the object store, from inside and, for pre-signed URLs, from outside."""

    model_config = ConfigDict(frozen=True)

    url: str
    public_url: str
    access_key: SecretStr
    secret_key: SecretStr
    bucket: str = "radbus"
    region: str = "us-east-1"
    threads: int = Field(default=8, ge=1)
    timeout_s: float = Field(default=30, gt=0)
