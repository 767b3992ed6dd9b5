"""Measure the algorithm against the drawn chest, whose widths are known, and print the table of the README."""

import sys
import time

import numpy as np
from chest_xray_algorithm import look
from numpy.typing import NDArray
from radbus_machines.chest_xray.heart_and_lungs import Masks, heart_width, opacities, shorter_lung, thorax_width
from radbus_machines.radiograph import picture_of
from radbus_testing.drawn_chest import (
    HEART,
    HEART_MM,
    LEFT,
    RIGHT,
    SPACING_MM,
    THORAX_MM,
    drawn_chest,
    drawn_hand,
    ellipse,
    filled_chest,
)


def main() -> None:
    """Print a line for each image."""
    sys.stdout.write(
        "| image | heart (true) | chest (true) | ratio (true) | Dice right, left | right - left | time |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rng = np.random.default_rng(5)
    chest = drawn_chest()
    _report("as drawn", chest)
    for noise in (50.0, 150.0, 300.0):
        _report(f"noise of {noise:.0f} (lung to tissue: 1000)", chest + rng.normal(0, noise, chest.shape))
    _report("opacity in the left lower zone", drawn_chest(opaque=True))
    for side in ("right", "left"):
        for share in (0.3, 0.6, 1.0):
            _report(f"{side} lung opaque from below, {100 * share:.0f} %", filled_chest(side, share))
    for gamma in (0.6, 1.6):
        _report(f"greys to the power of {gamma}", 2000 * (chest / 2000) ** gamma)
    _report("negative", 4095 - chest)
    _report("negative of an opaque lung", 4095 - filled_chest("left", 1.0))
    _report("five bars and a plate", drawn_hand())


def _report(name: str, image: NDArray[np.floating]) -> None:
    picture, box = picture_of(np.asarray(image, np.float32))
    start = time.process_time()
    seen = look(picture)
    took_s = time.process_time() - start
    if seen.view.argmax() != 0:
        sys.stdout.write(f"| {name} | no chest | | | | | {took_s:.1f} s |\n")
        return
    masks = Masks.of(seen.masks, box)
    if unseen := _not_whole(masks):
        sys.stdout.write(f"| {name} | {unseen}: not measured | | | | | {took_s:.1f} s |\n")
        return
    heart, chest, unlike = heart_width(masks), thorax_width(masks), opacities(picture, masks)
    if heart is None or chest is None or unlike is None:
        sys.stdout.write(f"| {name} | not measured | | | | | {took_s:.1f} s |\n")
        return
    behind = ellipse(*HEART)
    dice = [_dice(masks.full[side], ellipse(*lung) & ~behind) for side, lung in enumerate((RIGHT, LEFT))]
    sys.stdout.write(
        f"| {name} | {heart.pixels * SPACING_MM:.0f} ({HEART_MM:.0f}) mm | {chest.pixels * SPACING_MM:.0f} "
        f"({THORAX_MM:.0f}) mm | {heart.pixels / chest.pixels:.2f} ({HEART_MM / THORAX_MM:.2f}) | {dice[0]:.2f}, "
        f"{dice[1]:.2f} | {unlike.asymmetry:+.0f} points | {took_s:.1f} s |\n"
    )


def _not_whole(masks: Masks) -> str:
    if masks.lungs_found < 2:
        return f"no {'left' if masks.picture[0].any() else 'right'} lung"
    short = shorter_lung(masks)
    return f"the {short} lung is short" if short else ""


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


if __name__ == "__main__":
    main()
