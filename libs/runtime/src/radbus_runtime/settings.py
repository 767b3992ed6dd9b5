"""What every service reads from its environment: frozen, prefixed `RADBUS_`, checked at start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from radbus_contracts.errors import PermanentError
from radbus_storage.settings import DocumentSettings, ObjectSettings

from radbus_runtime.auth.rate_limits import RateLimitFormError, parse_rate_limit
from radbus_runtime.auth.signed import ASYMMETRIC

ACCESS_KEY_LENGTH = 32  # RFC 7518, 3.2: as long as the digest

S = TypeVar("S", bound="ServiceSettings")


class SettingsError(PermanentError):
    """The environment does not hold what a service needs; the text names the variables."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The site's identity provider (OpenID Connect), and what its bearer tokens say where."""

    issuer: str
    audience: str
    jwks_url: str | None
    institution_claim: str
    scopes_claim: str
    algorithms: tuple[str, ...]


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
    http_head_s: float = Field(
        default=60, gt=0, description="How long the line and the headers of a request may take; then 408."
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses or networks, comma separated, whose X-Forwarded-For and -Proto are believed; * is all.",
    )
    rate_limit: str = Field(
        default="60000/minute", description="Requests of one token or user that a replica takes; 429 above."
    )
    access_key: SecretStr | None = Field(
        default=None,
        description="Secret, 32 characters or more and the same for all services, that access tokens of users are "
        "signed with; without it nobody can log in.",
    )
    access_lifetime_s: int = Field(default=3600, ge=60, le=24 * 3600, description="How long an access token holds.")
    oidc_issuer: str | None = Field(
        default=None,
        pattern="^https?://",
        description="Identity provider (OpenID Connect) whose bearer tokens are taken, as its tokens name it.",
    )
    oidc_audience: str | None = Field(
        default=None, validate_default=True, description="The `aud` of its tokens that are for radbus."
    )
    oidc_jwks_url: str | None = Field(
        default=None, pattern="^https?://", description="Where its keys are; by default as it says itself."
    )
    oidc_institution_claim: str = Field(default="institution", description="The claim that names the institution.")
    oidc_scopes_claim: str = Field(
        default="scope", description="The claim that holds the scopes: store, read, compute, or radbus:store and so on."
    )
    oidc_algorithms: str = Field(
        default="RS256 PS256 ES256", description="Algorithms that its tokens may be signed with; asymmetric ones only."
    )
    prefetch: int = Field(default=20, ge=1, description="Messages in work at a time, a queue and replica.")
    drain_s: float = Field(default=15, ge=0, description="How long running handlers may take to end at SIGTERM.")
    hang_s: float = Field(
        default=120, gt=0, description="An event loop that stands still for so long ends its process."
    )
    start_s: float = Field(default=60, gt=0, description="How long to try to reach the servers at start.")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    traces: str = Field(
        default="env",
        description="Where spans go: off, otlp:<URL>, env (to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, "
        "if any), or file:<folder>, and there as well.",
    )

    @field_validator("rate_limit")
    @classmethod
    def _is_rate_limit(cls, value: str) -> str:
        try:
            parse_rate_limit(value)
        except RateLimitFormError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("access_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < ACCESS_KEY_LENGTH:
            raise ValueError(f"expected at least {ACCESS_KEY_LENGTH} characters")
        return value

    @field_validator("oidc_audience")
    @classmethod
    def _goes_with_issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("expected the audience of radbus, since RADBUS_OIDC_ISSUER is given")
        return value

    @field_validator("oidc_algorithms")
    @classmethod
    def _are_asymmetric(cls, value: str) -> str:
        if not value.split() or not set(value.split()) <= set(ASYMMETRIC):
            raise ValueError(f"expected some of {', '.join(ASYMMETRIC)}")
        return value

    @property
    def oidc(self) -> OidcSettings | None:
        """The identity provider whose bearer tokens are taken, if there is one."""
        if self.oidc_issuer is None or self.oidc_audience is None:
            return None
        return OidcSettings(
            issuer=self.oidc_issuer,
            audience=self.oidc_audience,
            jwks_url=self.oidc_jwks_url,
            institution_claim=self.oidc_institution_claim,
            scopes_claim=self.oidc_scopes_claim,
            algorithms=tuple(self.oidc_algorithms.split()),
        )

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
