"""The manifest of a machine: what it is, how it is run, which attributes it may see."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from radbus_contracts.errors import PermanentError

# The inferencing API's clients name folders of a zip by it, in whatever case.
ChannelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]


class Runner(StrEnum):
    """How a machine is run."""

    TRITON = "triton"  # Python around calls of a model on Triton
    PYTHON = "python"  # Python alone, it calls no model
    REPORT = "report"  # makes the report of the tasks it needs


class ManifestError(PermanentError):
    """A `machine.yaml` that cannot be used; the text says what was expected."""


class MachineManifest(BaseModel):
    """`machine.yaml`, beside the model in `triton_models/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: str
    title: str
    runner: Runner
    model: str | None = Field(default=None, description="The model's name on Triton.")
    entry_point: str | None = Field(default=None, description="Name in the entry-point group radbus.machines.")
    model_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="By which the inferencing API knows it."
    )
    channels: tuple[ChannelName, ...] = Field(
        default=(), description="Names of its inputs, the first is the one that is segmented; none for a single input."
    )
    pool: str = "default"
    timeout_s: float = Field(default=600, gt=0, description="From started to finished, one attempt.")
    max_attempts: int = Field(default=3, ge=1, le=20)
    dicom_tags: tuple[str, ...] = Field(default=(), description="Header elements it may see, by keyword.")
    weights_sha256: str | None = None

    @model_validator(mode="after")
    def _channels_differ(self) -> Self:
        if len({name.casefold() for name in self.channels}) < len(self.channels):
            raise ValueError("channels: expected names that differ in more than case")
        return self

    @property
    def public_id(self) -> str:
        """Return the id by which clients of the inferencing API ask for it: its own, or name and version."""
        return self.model_id or f"{self.name}:{self.version}"


REPORT = MachineManifest(name="report", version="1.0.0", title="Report", runner=Runner.REPORT, timeout_s=120)
"""Built in: makes the report of the tasks that it needs; it sees no pixels."""

PASS_THROUGH = MachineManifest(
    name="pass-through",
    version="1729",
    title="Five rectangles, to check an installation",
    runner=Runner.PYTHON,
    model_id="PassThroughModel:1729",
    timeout_s=120,
)
"""Built in: ignores the pixels and answers the same structures for all images."""


def load_manifests(folder: Path) -> dict[str, MachineManifest]:
    """Read every `*/machine.yaml` below `folder`, by machine name; the built-in ones are among them.

    Raises:
        ManifestError: A manifest that does not hold, or two of one name.
    """
    manifests: dict[str, MachineManifest] = {}
    for path in sorted(folder.glob("*/machine.yaml")):
        try:
            manifest = MachineManifest.model_validate(yaml.safe_load(path.read_text()))
        except (ValidationError, yaml.YAMLError) as error:
            raise ManifestError(f"{path}: {error}") from error
        if manifest.name in manifests:
            raise ManifestError(f"{path}: a machine named {manifest.name!r} is there already")
        manifests[manifest.name] = manifest
    if not manifests:
        raise ManifestError(f"{folder}: expected at least one */machine.yaml")
    return {REPORT.name: REPORT, PASS_THROUGH.name: PASS_THROUGH, **manifests}
