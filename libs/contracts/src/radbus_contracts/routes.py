"""Which service answers which method and path: the outside of radbus, in whatever stands in front of the services.

Written once, and read by nginx of the local stack, by the services in one process, and by what routes on a cluster.
A path is matched as it came, with `%2F` and `%3A` as they are, since a parameter (a patient's id) may hold a slash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_PARAMETER: Final = re.compile(r"\{\w+\}")


class ServiceName(StrEnum):
    """The services that clients speak to."""

    INGEST = "ingest"
    ROUTER = "router"
    SCHEDULER = "scheduler"
    RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Route:
    """One path, in OpenAPI's form (`{parameter}` is one segment), with its methods; without any it takes all.

    `either_slash`: some clients end the path with a slash, or not, as the contract does not, and none of them would
    follow a redirect with its body and its credentials.
    """

    path: str
    service: ServiceName
    methods: tuple[str, ...] = ()
    either_slash: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression, of the kind that all engines know, for the whole of a path as it came."""
        path = f"{self.path.rstrip('/')}/?" if self.either_slash else self.path
        return f"^{_PARAMETER.sub('[^/]+', path)}$"

    def takes(self, method: str) -> bool:
        """Tell whether a method is one of this route's."""
        return not self.methods or method in self.methods


ROUTES: Final = (
    # Upload and results API, STOW-RS.
    Route("/upload", ServiceName.INGEST, ("POST",), either_slash=True),
    Route("/studies", ServiceName.INGEST, ("POST",), either_slash=True),
    Route("/studies/{study_instance_uid}", ServiceName.INGEST, ("POST",), either_slash=True),
    Route("/compute/{uid}", ServiceName.ROUTER, ("GET", "POST")),
    Route("/results/{uid}", ServiceName.RESULTS, ("GET",)),
    Route("/results/v2/{uid}", ServiceName.RESULTS, ("GET",)),
    # Inference API.
    Route("/api/auth/jwt_login/", ServiceName.RESULTS, ("POST",)),
    Route(
        "/api/models/{model_id}/patients/{patient_mrn}/inferences/", ServiceName.RESULTS, ("GET",), either_slash=True
    ),
    Route("/inferences", ServiceName.RESULTS, ("GET",)),
    Route("/inferences/{inference_id}", ServiceName.RESULTS, ("GET",)),
    # Inferencing API, and what its public client calls.
    Route("/ping", ServiceName.INGEST, ("GET",)),
    Route("/api/ping", ServiceName.INGEST, ("GET",)),
    Route("/v1/ping", ServiceName.INGEST, ("GET",)),
    Route("/v1/model/start/{model_id}", ServiceName.INGEST, ("POST",)),
    Route("/v1/model/results/{run_id}", ServiceName.RESULTS, ("GET",)),
    Route("/api/v1/models", ServiceName.INGEST, ("GET",)),
    Route("/api/v1/models/{model_id}/segmentation", ServiceName.INGEST, ("POST",)),
    Route("/api/v1/models/{model_id}/segmentation/{segmentation_id}", ServiceName.RESULTS, ("GET",)),
    Route("/api/v1/models/{model_id}/segmentation/{segmentation_id}/result", ServiceName.RESULTS, ("GET",)),
    Route("/api/v1/storage", ServiceName.INGEST),
    Route("/api/v1/feedback", ServiceName.INGEST),
    # Ours: what there is, why, and what is in work.
    Route("/use-cases", ServiceName.ROUTER, ("GET",)),
    Route("/explain", ServiceName.ROUTER, ("POST",)),
    Route("/jobs", ServiceName.SCHEDULER, ("GET",)),
    Route("/jobs/{job_id}", ServiceName.SCHEDULER, ("GET",)),
    Route("/jobs/{job_id}/cancel", ServiceName.SCHEDULER, ("POST",)),
    Route("/jobs/{job_id}/retry", ServiceName.SCHEDULER, ("POST",)),
)


def routes_of(path: str) -> tuple[Route, ...]:
    """Give the routes of a path as it came: not decoded, without its query."""
    return tuple(route for route in ROUTES if re.fullmatch(route.pattern, path))
