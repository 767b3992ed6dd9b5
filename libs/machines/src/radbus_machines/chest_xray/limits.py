"""What keeps a frontal chest radiograph from being judged, or judged well, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from radbus_machines.chest_xray.heart_and_lungs import heart_offset, middle_offset, shorter_lung
from radbus_machines.chest_xray.judged import Judged
from radbus_machines.types import Distances

NOT_LOOKED_FOR = (
    "Not looked for: small opacities, pneumothorax, fluid, fractures, and what the heart and the diaphragm hide."
)

_TURNED = 0.06  # of the chest's width
_HEART_OTHER_SIDE = -0.04
_LEAST_CONTRAST = 0.15
_MOST_CLIPPED = 0.05
_LEAST_CHEST_MM, _MOST_CHEST_MM = 180.0, 450.0
_CUT = {
    "top": "The tops of the lungs are cut off at the edge of the image.",
    "bottom": "The lungs are cut off at the lower edge of the image.",
    "sides": "The lungs are cut off at the sides of the image, so the chest's width and the cardiothoracic ratio could "
    "not be judged.",
}


def limits_of(judged: Judged) -> tuple[str, ...]:
    """Say what could not be judged, and what to hold against the figures."""
    return (*_of_the_view(judged), *_of_the_sides(judged), *_of_the_image(judged), NOT_LOOKED_FOR)


def _of_the_view(judged: Judged) -> Iterator[str]:
    said = judged.view.said
    if said == "AP":
        yield "The view is AP, which shows the heart too wide: a ratio above 0.5 need not mean that it is."
    elif said == "DECUBITUS":
        yield (
            "The patient lies on a side (lateral decubitus): heart and mediastinum sink, fluid and air move, and the "
            "lower lung is denser than the other."
        )
    elif said == "LATERAL":
        yield "The header calls the view lateral; the image looks frontal and was measured as such."
    elif said == "":
        yield "The header does not say whether the view is PA or AP; on AP the cardiothoracic ratio is overstated."


def _of_the_sides(judged: Judged) -> Iterator[str]:
    if judged.projection.towards is None:
        yield "The header does not say where the patient's right is; it was taken to be at the image's left."
    elif judged.hanging.mirrored:
        yield "The image is stored with the patient's right at its right, as its header says; sides are the patient's."
    heart, thorax = judged.heart, judged.thorax
    if (
        judged.ratio is not None
        and heart is not None
        and thorax is not None
        and heart_offset(heart, thorax) < _HEART_OTHER_SIDE
    ):
        yield (
            "The heart lies more to the side that is taken for the patient's right: the image may be mirrored against "
            "its header, the heart displaced or turned. Check the sides before you use them."
        )
    offset = middle_offset(judged.masks)
    if offset is not None and abs(offset) > _TURNED:
        way = "left" if offset > 0 else "right"
        yield (
            f"Above the heart the middle of the chest lies {100 * abs(offset):.0f} % of its width to the patient's "
            f"{way}: with a rotated patient or a shifted mediastinum neither the heart's width nor the difference "
            "between the lungs can be relied on."
        )


def _of_the_image(judged: Judged) -> Iterator[str]:
    for edge in ("top", "bottom", "sides"):
        if edge in judged.cut:
            yield _CUT[edge]
    if (side := shorter_lung(judged.masks)) is not None:
        yield (
            f"The {side} lung field was not followed as far down as the other: a part of it may be opaque or was not "
            "recognised, so neither the heart's size nor a difference between the lungs could be judged."
        )
    if judged.grey_turned:
        yield "The grey values are the wrong way round for what the header says; they were read as they look right."
    if judged.contrast is not None and judged.contrast < _LEAST_CONTRAST:
        yield "Lungs and heart hardly differ in grey (under- or overexposed?): borders and brightness are uncertain."
    if judged.clipped > _MOST_CLIPPED:
        yield (
            f"In {100 * judged.clipped:.0f} % of the lungs the image is at the end of its grey values: nothing can be "
            "seen there, and the brightness of the lungs is uncertain."
        )
    if judged.projection.distances is Distances.UNKNOWN:
        yield "The image has no pixel spacing, so widths are not given in mm; ratios do not need it."
    elif judged.projection.distances is Distances.DETECTOR:
        yield "Widths in mm are those at the detector, larger than in the patient."
    if judged.chest_mm is not None and not _LEAST_CHEST_MM <= judged.chest_mm <= _MOST_CHEST_MM:
        yield (
            f"By its pixel spacing the chest is {judged.chest_mm:.0f} mm wide, as no adult's is: a child, or the "
            "spacing is not that of this image, and then widths in mm are wrong."
        )
