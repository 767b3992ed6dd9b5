"""The models that clients of the inferencing API may run, out of the machines' manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from radbus_machines.manifest import MachineManifest, ManifestError, Runner, load_manifests

from radbus_ingest.domain.runs import Model

_SEE_IMAGES: Final = frozenset({Runner.TRITON, Runner.PYTHON})


def load_models(folder: Path) -> dict[str, Model]:
    """Read the machines below `folder`; return those that look at images, by the ids that clients use.

    Raises:
        ManifestError: A manifest does not hold, or two machines have the same id.
    """
    models: dict[str, Model] = {}
    for manifest in load_manifests(folder).values():
        if manifest.runner not in _SEE_IMAGES:
            continue
        model = _model(manifest)
        if model.id in models:
            names = f"{models[model.id].machine!r} and {model.machine!r}"
            raise ManifestError(f"{folder}: expected an id of its own for each machine; {names} have the same")
        models[model.id] = model
    return models


def _model(manifest: MachineManifest) -> Model:
    return Model(
        id=manifest.public_id,
        machine=manifest.name,
        title=manifest.title,
        version=manifest.version,
        channels=manifest.channels,
    )
