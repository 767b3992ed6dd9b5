"""The channels of a machine: which of the given images goes to which of its inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from radbus_dicom.errors import SeriesNotUsable

T = TypeVar("T")

SINGLE = ""
"""The name of the channel of a machine that declares none, and of images that were given without one."""


def assigned(wanted: Sequence[str], given: Mapping[str, T]) -> dict[str, T]:
    """Give each wanted channel its images, in the wanted order; names are compared without regard to case.

    A machine that declares no channels takes the only one there is, whatever its name.

    Raises:
        SeriesNotUsable: A channel is absent, or there are several for a machine with one input.
    """
    if not wanted:
        if len(given) != 1:
            raise SeriesNotUsable(f"Expected images of one channel; there are {len(given)} channels.")
        return dict(given)
    if len(wanted) == 1 and set(given) == {SINGLE}:
        return {wanted[0]: given[SINGLE]}
    by_name = {name.casefold(): images for name, images in given.items()}
    absent = [name for name in wanted if name.casefold() not in by_name]
    if absent:
        raise SeriesNotUsable(
            f"Expected images of each of the channels {', '.join(wanted)}; there are none of {', '.join(absent)}."
        )
    return {name: by_name[name.casefold()] for name in wanted}


def largest_series(series_instance_uids: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Choose the series with the most images, by the SeriesInstanceUID of each image; say so where there are several.

    Raises:
        SeriesNotUsable: There is no image.
    """
    counts = Counter(series_instance_uids)
    if not counts:
        raise SeriesNotUsable("Expected images; none were given.")
    chosen = min(counts, key=lambda uid: (-counts[uid], uid))
    if len(counts) == 1:
        return chosen, ()
    return chosen, (f"Of {len(counts)} series, the one with the most images was judged.",)
