"""What the machine `chest-xray` says of what was judged: values, labels, lines and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radbus_machines.chest_xray.heart_and_lungs import Opacities, shorter_lung
from radbus_machines.chest_xray.judged import Judged
from radbus_machines.chest_xray.limits import limits_of
from radbus_machines.chest_xray.views import View
from radbus_machines.types import (
    Code,
    Distances,
    Finding,
    KeyFrame,
    LabelMap,
    Line,
    MachineOutput,
    Measurement,
    Segment,
    Site,
    Value,
)

RIGHT_LUNG, LEFT_LUNG, HEART = 1, 2, 3
ENLARGED_RATIO = 0.5
RATIO_MAY_BE_OFF = 0.05  # by what it differed from a reader's: docs/models.md
UNLIKE_POINTS = 20.0

_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
_LUNG, _HEART = Code("39607008", "SCT", "Lung"), Code("80891009", "SCT", "Heart")
_SEGMENTS = (
    Segment(RIGHT_LUNG, "Right lung field", _STRUCTURE, _LUNG, (224, 97, 76), Code("24028007", "SCT", "Right")),
    Segment(LEFT_LUNG, "Left lung field", _STRUCTURE, _LUNG, (76, 168, 224), Code("7771000", "SCT", "Left")),
    Segment(HEART, "Heart between the lung fields", _STRUCTURE, _HEART, (240, 206, 90)),
)
_CHEST = Site(Code("816094009", "SCT", "Chest"))
_WIDTH = Code("103355008", "SCT", "Width")
_RATIO = Code("CTR", "99RADBUS", "Cardiothoracic ratio")
_OPACITY = Code("LUNG-OPACITY", "99RADBUS", "Brightness of a lung relative to the heart")
_ASYMMETRY = Code("OPACITY-ASYM", "99RADBUS", "Difference in brightness between the lungs")
_ENLARGED = Code("CTR-ABOVE-HALF", "99RADBUS", "Cardiothoracic ratio above 0.5")
_UNLIKE = Code("LUNGS-UNLIKE", "99RADBUS", "Lungs of different brightness")
_ONE_LUNG = Code("LUNG-NOT-SEEN", "99RADBUS", "A lung field that is not seen")
_WHITE, _YELLOW = (255, 255, 255), (240, 206, 90)

_HEART_WORDS = "From the heart's rightmost to its leftmost point, at right angles to the image's vertical."
_THORAX_WORDS = "Between the outer borders of both lung fields, in the row in which they are furthest apart."
_RATIO_WORDS = (
    "Heart's width by the chest's inner width (Danzer 1919); on PA views above 0.5 is usually called enlarged. An AP "
    "view shows the heart too wide."
)
_OPACITY_WORDS = (
    "Mean grey of the lung field within its border: 0 is the darkest 1 % of the image, 100 the middle grey of the "
    "heart. It depends on the device's processing of the image."
)
_ASYMMETRY_WORDS = "Percentage points between the brightness of the right and the left lung field."


def unusable_output(why: str) -> MachineOutput:
    """Say that nothing was measured, and why."""
    findings = tuple(
        Finding(name, None, text, code)
        for name, text, code in (
            ("enlarged_heart", "The heart's size was not judged.", _ENLARGED),
            ("lungs_unlike", "The lungs were not compared.", _UNLIKE),
        )
    )
    return MachineOutput(f"{why} Nothing was measured.", findings=findings, limits=(why,), usable=False)


def frontal_output(judged: Judged) -> MachineOutput:
    """Say what was measured on a frontal view."""
    findings, limits = (*_findings(judged),), limits_of(judged)
    measurements = tuple(_measurements(judged))
    impression = _impression(judged)
    return MachineOutput(
        summary=" ".join([f"{_view_words(judged.view)}.", impression]),
        impression=impression,
        values=_values(judged, measurements),
        label_maps=(LabelMap("chest", _labels(judged), _segments(judged)),),
        measurements=measurements,
        findings=findings,
        key_frames=(KeyFrame(0, _title(judged)),),
        limits=limits,
        lines=tuple(_lines(judged)),
    )


def _values(judged: Judged, measurements: tuple[Measurement, ...]) -> dict[str, Value]:
    values: dict[str, Value] = {each.name: each.value for each in measurements}
    values["view"] = judged.view.name
    values["lungs_found"] = judged.masks.lungs_found
    if (side := shorter_lung(judged.masks)) is not None:
        values["shorter_lung"] = side
    if judged.comparable is not None:
        values["denser_lung"] = _denser(judged.comparable)
    return values


def _measurements(judged: Judged) -> Iterator[Measurement]:
    if judged.projection.distances is not Distances.UNKNOWN:
        _, across = judged.hanging.spacing(judged.volume.geometry.spacing_mm[1:])
        where = "" if judged.projection.distances is Distances.PATIENT else " Measured at the detector."
        if judged.heart is not None and judged.ratio is not None:
            mm = round(judged.heart.pixels * across, 1)
            yield Measurement("heart_width_mm", "Heart: width", mm, "mm", _WIDTH, _HEART_WORDS + where, HEART)
        if judged.chest_mm is not None:
            mm = round(judged.chest_mm, 1)
            yield Measurement(
                "thorax_width_mm", "Chest: inner width", mm, "mm", _WIDTH, _THORAX_WORDS + where, site=_CHEST
            )
    if judged.ratio is not None:
        ratio = round(judged.ratio, 3)
        yield Measurement("cardiothoracic_ratio", "Cardiothoracic ratio", ratio, "1", _RATIO, _RATIO_WORDS, site=_CHEST)
    if (found := judged.comparable) is not None:
        for name, title, value, segment in (
            ("right_lung_opacity", "Right lung: brightness", found.right, RIGHT_LUNG),
            ("left_lung_opacity", "Left lung: brightness", found.left, LEFT_LUNG),
        ):
            yield Measurement(name, title, round(value, 1), "%", _OPACITY, _OPACITY_WORDS, segment)
        asymmetry = round(abs(found.asymmetry), 1)
        title = "Lungs: difference in brightness"
        site = Site(_LUNG, Code("51440002", "SCT", "Right and left"))
        yield Measurement("opacity_asymmetry", title, asymmetry, "%", _ASYMMETRY, _ASYMMETRY_WORDS, site=site)


def _findings(judged: Judged) -> Iterator[Finding]:
    yield _enlarged(judged)
    if judged.masks.lungs_found == 1:
        text = (
            f"The {_missing(judged)} lung field was not found: it may be opaque for the most part, absent, or not "
            "recognised. Compare with the image."
        )
        yield Finding("lung_field_not_seen", present=True, text=text, code=_ONE_LUNG)
    yield _unlike(judged)


def _enlarged(judged: Judged) -> Finding:
    name, ratio = "enlarged_heart", judged.ratio
    if ratio is None:
        return Finding(name, None, "The heart's size was not judged: heart or chest are not seen whole.", _ENLARGED)
    said = f"The cardiothoracic ratio is {ratio:.2f}"
    if judged.view.name == "decubitus":
        why = "of a patient who lies on a side: whether the heart is enlarged was not judged"
        return Finding(name, None, f"{said}, {why}.", _ENLARGED)
    if _is_too_close(ratio):
        why = f"closer to {ENLARGED_RATIO} than it is exact ({RATIO_MAY_BE_OFF})"
        return Finding(name, None, f"{said}, {why}: whether the heart is enlarged was not judged.", _ENLARGED)
    if ratio < ENLARGED_RATIO:
        return Finding(name, present=False, text=f"{said}, not above {ENLARGED_RATIO}.", code=_ENLARGED)
    if judged.view.name == "PA":
        return Finding(name, present=True, text=f"{said}, above {ENLARGED_RATIO} on a PA view.", code=_ENLARGED)
    why = "on an AP view, which shows the heart too wide" if judged.view.name == "AP" else "and PA or AP is not said"
    return Finding(name, None, f"{said}, {why}: whether the heart is enlarged was not judged.", _ENLARGED)


def _is_too_close(ratio: float) -> bool:
    return abs(ratio - ENLARGED_RATIO) <= RATIO_MAY_BE_OFF


def _unlike(judged: Judged) -> Finding:
    name, found = "lungs_unlike", judged.comparable
    if found is None:
        return Finding(
            name, None, "The lungs were not compared: not both of them and the heart are seen whole.", _UNLIKE
        )
    points = abs(found.asymmetry)
    if points < UNLIKE_POINTS:
        text = (
            f"The lungs are alike in brightness: {points:.0f} percentage points apart, less than {UNLIKE_POINTS:.0f}."
        )
        return Finding(name, present=False, text=text, code=_UNLIKE)
    right, left = found.zones[found.least_alike]
    text = (
        f"The {_denser(found)} lung is brighter by {points:.0f} percentage points, most of all in the "
        f"{found.least_alike} zone (right {right:.0f} %, left {left:.0f} %): an opacity there, a rotated patient, or "
        "less tissue or more air on the other side."
    )
    return Finding(name, present=True, text=text, code=_UNLIKE)


def _impression(judged: Judged) -> str:
    heart = "The heart's size cannot be judged." if judged.ratio is None else _ratio_words(judged)
    if judged.masks.lungs_found == 1:
        return f"The {_missing(judged)} lung field was not found. {heart}"
    if judged.comparable is None:
        return f"{heart} The lungs cannot be compared."
    if abs(judged.comparable.asymmetry) >= UNLIKE_POINTS:
        return f"{heart} The {_denser(judged.comparable)} lung is brighter than the other."
    return f"{heart} The lungs are alike in brightness."


def _ratio_words(judged: Judged) -> str:
    ratio = judged.ratio or 0.0
    if judged.view.name == "decubitus":
        return f"Cardiothoracic ratio {ratio:.2f}, which means little in a patient who lies on a side."
    if _is_too_close(ratio):
        return f"Cardiothoracic ratio {ratio:.2f}, too close to {ENLARGED_RATIO} to tell."
    if ratio < ENLARGED_RATIO:
        return f"Cardiothoracic ratio {ratio:.2f}, not enlarged."
    if judged.view.name == "PA":
        return f"Cardiothoracic ratio {ratio:.2f}, above {ENLARGED_RATIO}."
    if judged.view.name == "AP":
        return f"Cardiothoracic ratio {ratio:.2f}, which the AP view overstates."
    return f"Cardiothoracic ratio {ratio:.2f}, overstated if the view is AP."


def _view_words(view: View) -> str:
    if view.name == "decubitus":
        return "Lateral decubitus view"
    return f"{view.name} view" if view.name != "frontal" else "Frontal view (PA or AP is not said)"


def _title(judged: Judged) -> str:
    ratio = "" if judged.ratio is None else f", cardiothoracic ratio {judged.ratio:.2f}"
    return f"{_view_words(judged.view)}{ratio}"


def _denser(found: Opacities) -> str:
    return "right" if found.asymmetry > 0 else "left"


def _missing(judged: Judged) -> str:
    return "left" if judged.masks.picture[0].any() else "right"


def _segments(judged: Judged) -> tuple[Segment, ...]:
    """Return the segments, without codes of sides that the header does not give."""
    if judged.projection.towards is None:
        return tuple(replace(segment, laterality=None) for segment in _SEGMENTS)
    return _SEGMENTS


def _labels(judged: Judged) -> NDArray[np.uint8]:
    """Label the lungs, and the heart where its width is one: else its mask is what lies between two unlike lungs."""
    labels = np.zeros(judged.masks.full[0].shape, np.uint8)
    for number, mask in zip((RIGHT_LUNG, LEFT_LUNG, HEART), judged.masks.full, strict=True):
        if number != HEART or judged.ratio is not None:
            labels[mask] = number
    return np.ascontiguousarray(judged.hanging.stored(labels))[None]


def _lines(judged: Judged) -> Iterator[Line]:
    if judged.ratio is None:
        return
    known = judged.projection.distances is not Distances.UNKNOWN
    _, across = judged.hanging.spacing(judged.volume.geometry.spacing_mm[1:])
    shape = judged.masks.full[0].shape
    for name, width, colour in (("Heart", judged.heart, _YELLOW), ("Chest", judged.thorax, _WHITE)):
        if width is not None:
            ends = [judged.hanging.stored_place((width.row, c), (shape[0], shape[1])) for c in (width.start, width.end)]
            text = f"{name} {width.pixels * across:.0f} mm" if known else name
            yield Line(0, ends[0], ends[1], text, colour)
