"""Use cases, series and sources as the router's tests need them."""

from __future__ import annotations

from typing import Any

from radbus_contracts.facts import Dialect, Source
from radbus_router.domain import SeriesHeader, UseCase

CHEST_CT: dict[str, Any] = {
    "Modality": "CT",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "BodyPartExamined": "CHEST",
}


def use_case(**changes: Any) -> UseCase:
    content: dict[str, Any] = {
        "use_case": "lungs",
        "version": 1,
        "title": "Lungs",
        "when": {"modality": 'series.Modality == "CT"'},
        "tasks": [{"id": "lungs", "machine": "lung-ct"}],
    }
    return UseCase.model_validate({**content, **changes})


def series(uid: str = "1.2.3", *, instances: int = 40, **elements: Any) -> SeriesHeader:
    return SeriesHeader(series_instance_uid=uid, elements=elements, instance_count=instances)


def source(**names: str) -> Source:
    return Source(dialect=Dialect.C_STORE, **names)
