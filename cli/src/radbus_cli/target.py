"""Where the commands send to: a deployment named in the environment, else the local stack."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from radbus_contracts.errors import PermanentError

from radbus_cli.local.layout import DEFAULT_BASE_PORT, default_root
from radbus_cli.local.stack import LocalStack

TOKEN_FILE = "demo-token"  # noqa: S105 - the name of a file


class NoTokenError(PermanentError):
    """No token was given, and there is no local stack that has made one."""


class TargetSettings(BaseSettings):
    """The command's own settings."""

    model_config = SettingsConfigDict(env_prefix="RADBUS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    url: str | None = Field(default=None, description="Address of radbus; by default the local stack's.")
    token: SecretStr | None = Field(default=None, description="Token; by default the local stack's demo token.")
    stack_root: Path = Field(default_factory=default_root, description="Folder of the local stack that is meant.")
    stack_base_port: int = Field(default=DEFAULT_BASE_PORT, description="The first port of that stack.")


class Target:
    """Address and token of one deployment."""

    def __init__(self, settings: TargetSettings | None = None, stack: LocalStack | None = None) -> None:
        self._settings = settings or TargetSettings()
        self.stack = stack or LocalStack(self._settings.stack_root, self._settings.stack_base_port)

    @property
    def is_local(self) -> bool:
        """Say whether no address was given, so that the local stack is meant."""
        return not self._settings.url

    @property
    def url(self) -> str:
        """Return the one address of all that clients ask."""
        return (self._settings.url or self.stack.url("front")).rstrip("/")

    @property
    def token_file(self) -> Path:
        """Where the local stack's demo token is kept."""
        return self.stack.layout.root / TOKEN_FILE

    @property
    def token(self) -> str:
        """Return the token to use.

        Raises:
            NoTokenError: There is none.
        """
        given = self._settings.token.get_secret_value().strip() if self._settings.token is not None else ""
        if given:
            return given
        if self.token_file.exists():
            return self.token_file.read_text().strip()
        raise NoTokenError("no token: set RADBUS_TOKEN, or run `radbus demo` for one on the local stack")
