"""The services' OpenAPI documents, and what stands for each parameter that their routes name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from radbus_cli.local.programs import Phase
from radbus_cli.local.stack import LocalStack

# These speak no HTTP of their own, or pass on what the others say.
_WITHOUT_DOCUMENT: Final = frozenset({"front", "gateway"})
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


def documents(stack: LocalStack) -> dict[str, dict[str, Any]]:
    """Return the document of each service that runs, by its name; of several workers only one's."""
    names = [program.name for program in stack.programs() if program.phase is Phase.SERVICE]
    wanted = [name for name in names if name not in _WITHOUT_DOCUMENT and not name.startswith("worker-")] + ["worker-0"]
    return {
        name: httpx2.get(f"{stack.url(name)}/openapi.json", timeout=10).raise_for_status().json() for name in wanted
    }


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path or in the query."""

    name: str
    where: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One route with one method."""

    service: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    json_body: bool

    def __str__(self) -> str:
        """Name it as a reader of a failed test knows it."""
        return f"{self.service}: {self.method} {self.path}"


def operations(stack: LocalStack) -> Iterator[Operation]:
    """Give every operation of every service."""
    for service, document in documents(stack).items():
        for path, item in document["paths"].items():
            for method in _METHODS & set(item):
                described = [*item.get("parameters", []), *item[method].get("parameters", [])]
                parameters = tuple(
                    Parameter(each["name"], each["in"]) for each in described if each["in"] in ("path", "query")
                )
                bodies = item[method].get("requestBody", {}).get("content", {})
                yield Operation(service, method.upper(), path, parameters, "application/json" in bodies)


@dataclass(frozen=True, slots=True)
class Owned:
    """Ids of what an institution has; `text` of it in an answer to another institution is a leak."""

    study: str
    series: str
    instances: tuple[str, ...]
    job: str
    inference: str
    run: str
    patient_id: str
    model: str  # by which the inference API knows what made the inference; the same for everybody

    @property
    def secrets(self) -> frozenset[str]:
        """Return all that nobody else may be told."""
        return frozenset(
            {self.study, self.series, *self.instances, self.job, self.inference, self.run, self.patient_id}
        )

    def values(self) -> Mapping[str, tuple[str, ...]]:
        """Return what stands for each name of a parameter; the first is the one that fits best."""
        uids = (self.series, self.instances[0], self.study)
        return {
            "uid": uids,
            "series_instance_uid": (self.series,),
            "SeriesInstanceUID": (self.series,),
            "study_instance_uid": (self.study,),
            "StudyInstanceUID": (self.study,),
            "sop_instance_uid": (self.instances[0],),
            "series": (self.series,),
            "study": (self.study,),
            "job_id": (self.job, self.run),
            "job": (self.job,),
            "inference_id": (self.inference,),
            "run_id": (self.run, self.job),
            "segmentation_id": (self.run,),
            "segmentationId": (self.run,),
            "patient_id": (self.patient_id,),
            "patient_mrn": (self.patient_id,),
            "mrn": (self.patient_id,),
            "model_id": (*_MODEL_IDS, self.model),
            "modelId": (*_MODEL_IDS, self.model),
            **_OF_EVERYBODY,
        }


_MODEL_IDS: Final = ("PassThroughModel:1729", "lung-ct:1.0.0")  # of the inferencing API
# Names that tell nothing of anybody.
_OF_EVERYBODY: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("lung-ct",),
    "version": ("1.0.0",),
    "usecase": ("qct",),
    "use_case": ("qct",),
    "triage": ("Routine",),
    "state": ("completed",),
    "since": ("2020-01-01T00:00:00Z",),
    "until": ("2100-01-01T00:00:00Z",),
    "limit": ("10",),
    "order": ("triage",),
    "cursor": (),
    "files": ("true",),
    "superseded": ("true",),
}

# What a route with a JSON body is sent; a route that is not named gets an empty object.
JSON_BODIES: Final[Mapping[str, bytes]] = {
    "/explain": json.dumps({"series": [{"Modality": "CT", "BodyPartExamined": "CHEST"}]}).encode(),
    "/jobs/{job_id}/cancel": json.dumps({"reason": "a test"}).encode(),
    "/api/auth/jwt_login/": json.dumps({"jwt": "a.b.c"}).encode(),
}
