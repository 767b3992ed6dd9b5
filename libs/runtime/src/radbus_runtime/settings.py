"""What every service reads from its environment: frozen, prefixed `RADBUS_`, checked at start."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from radbus_contracts.errors import PermanentError
from radbus_storage.settings import DocumentSettings, ObjectSettings

S = TypeVar("S", bound="ServiceSettings")


class SettingsError(PermanentError):
    """The environment does not hold what a service needs; the text names the variables."""


class ServiceSettings(BaseSettings):
    """Settings that all services share."""

    model_config = SettingsConfigDict(env_prefix="RADBUS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    amqp_url: SecretStr = Field(description="RabbitMQ, as amqp://user:password@host:port/vhost.")
    mongo_url: SecretStr = Field(description="MongoDB, as mongodb://host:port/?replicaSet=...")
    mongo_database: str = Field(default="radbus", description="Name of the database.")
    s3_url: str = Field(description="The object store as the services reach it.")
    s3_public_url: str | None = Field(default=None, description="The object store as clients reach it.")
    s3_access_key: SecretStr = Field(description="Access key of the object store.")
    s3_secret_key: SecretStr = Field(description="Secret key of the object store.")
    s3_bucket: str = Field(default="radbus", description="The bucket; made at start if it is not there.")
    s3_region: str = Field(default="us-east-1", description="Region that URLs are signed for.")
    s3_threads: int = Field(default=8, ge=1, description="Calls to the object store at a time, a replica.")
    http_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    http_port: int = Field(default=8080, description="Port to listen on.")
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses or networks, comma separated, whose X-Forwarded-For and -Proto are believed; * is all.",
    )
    prefetch: int = Field(default=20, ge=1, description="Messages in work at a time, a queue and replica.")
    drain_s: float = Field(default=15, ge=0, description="How long running handlers may take to end at SIGTERM.")
    start_s: float = Field(default=60, gt=0, description="How long to try to reach the servers at start.")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    traces: str = Field(default="off", description="off, file:<folder>, or otlp:<URL>.")

    @property
    def documents(self) -> DocumentSettings:
        """How to reach MongoDB."""
        return DocumentSettings(url=self.mongo_url, database=self.mongo_database)

    @property
    def objects(self) -> ObjectSettings:
        """How to reach the object store."""
        return ObjectSettings(
            url=self.s3_url,
            public_url=self.s3_public_url or self.s3_url,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key,
            bucket=self.s3_bucket,
            region=self.s3_region,
            threads=self.s3_threads,
        )


def load(kind: type[S]) -> S:
    """Read settings from the environment.

    Raises:
        SettingsError: Something is missing or not of its form; names the variables, never their values.
    """
    try:
        return kind()
    except ValidationError as error:
        faults = "; ".join(
            f"RADBUS_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"settings: {faults}") from None
