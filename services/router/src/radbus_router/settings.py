"""What the router reads from its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from radbus_runtime.settings import ServiceSettings


class RouterSettings(ServiceSettings):
    """Settings of the router."""

    use_cases_dir: Path = Field(description="Folder of the built-in use cases, a YAML file each.")
    site_use_cases_dir: Path | None = Field(default=None, description="Folder of the site's own use cases.")

    @property
    def use_case_folders(self) -> tuple[Path, ...]:
        """All folders to read use cases from."""
        return (self.use_cases_dir, *([self.site_use_cases_dir] if self.site_use_cases_dir else []))

    @field_validator("site_use_cases_dir", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None
