"""Where in the body a measurement is of, whether a machine says it of the measurement or of the segment measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from radbus_machines.types import Measurement, Segment, Site

_ANATOMICAL_STRUCTURE: Final = "123037004"  # SCT


def is_anatomy(segment: Segment) -> bool:
    """Say whether a segment is a part of the body: a lesion is found at a place, and is none."""
    return segment.category.value == _ANATOMICAL_STRUCTURE


def site_of_segment(segment: Segment) -> Site | None:
    """Return the segment itself where it is a part of the body, else where it lies."""
    return Site(segment.kind, segment.laterality) if is_anatomy(segment) else segment.site


def site_of(measurement: Measurement, segments: Iterable[Segment]) -> Site | None:
    """Return the site of the segment that is measured, where there is one, else the measurement's own."""
    measured = next((each for each in segments if each.number == measurement.segment), None)
    return measurement.site if measured is None else site_of_segment(measured)
