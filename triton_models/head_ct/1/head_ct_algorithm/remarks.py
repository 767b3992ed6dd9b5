"""What cannot be judged on a head CT, as codes with a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from head_ct_algorithm.brain import Brain
from head_ct_algorithm.grid import Grid

FEWEST_FRAMES = 10
THICK_MM = 7.0
_NOISE_HU = 14.0
_EVEN_DEPTH_MM = 15.0
_FEWEST_PAIRS = 300
_METAL_HU = 2500.0
_METAL_ML = 0.2
_BRIGHT_HU = (100.0, 400.0)
_BRIGHT_ML = 4.0
_BRIGHT_DEPTH_MM = 6.0
_CUT_TOP_MM2 = 1500.0
_CUT_BELOW_MM2 = 2500.0  # the foramen magnum has about 1000
_CUT_SIDE_MM2 = 300.0


@dataclass(frozen=True, slots=True)
class Remark:
    """A code that programs read and a sentence that people read."""

    code: str
    text: str


def not_a_head() -> Remark:
    """Say that the images show no skull with a brain in it."""
    return Remark("not_a_head", "No skull with a brain was found; the images do not seem to show a head.")


def too_few_slices(frames: int) -> Remark:
    """Say that there are too few frames for a volume."""
    return Remark("too_few_slices", f"{frames} slices are too few to judge a head; at least {FEWEST_FRAMES} needed.")


def remarks_on(grid: Grid, brain: Brain, volume: NDArray[np.int16]) -> list[Remark]:
    """Return what limits the answer."""
    found = [
        _thick(grid),
        _cut(grid, brain),
        _metal(grid, volume),
        _contrast(grid, brain),
        _noise(grid, brain),
    ]
    return [remark for remark in found if remark is not None]


def _thick(grid: Grid) -> Remark | None:
    slice_mm = grid.spacing_mm[0] / grid.factors[0]
    if slice_mm <= THICK_MM:
        return None
    return Remark(
        "thick_slices",
        f"Slices lie {slice_mm:.1f} mm apart: what lies next to bone looks like blood, so density was not judged.",
    )


def _cut(grid: Grid, brain: Brain) -> Remark | None:
    sz, sy, sx = grid.spacing_mm
    ends = []
    if brain.inside[-1].sum() * sy * sx > _CUT_TOP_MM2:
        ends.append("above")
    if brain.inside[0].sum() * sy * sx > _CUT_BELOW_MM2:
        ends.append("below")
    sides = brain.inside[:, :, (0, -1)].sum() * sz * sy + brain.inside[:, (0, -1)].sum() * sz * sx
    if sides > _CUT_SIDE_MM2:
        ends.append("at the sides")
    if not ends:
        return None
    return Remark("field_of_view_cut", f"The brain is cut {' and '.join(ends)}; volumes are of the imaged part only.")


def _metal(grid: Grid, volume: NDArray[np.int16]) -> Remark | None:
    fine_ml = grid.voxel_ml / np.prod(grid.factors)
    if (volume >= _METAL_HU).sum() * fine_ml < _METAL_ML:
        return None
    return Remark("metal", "Metal lies in the head; streaks of it look like blood, so density was not judged.")


def _contrast(grid: Grid, brain: Brain) -> Remark | None:
    """Look for bright vessels deep inside, beyond what calcifications hold; noise is averaged away first."""
    hu = ndimage.gaussian_filter(grid.hu, [0, 1.5 / grid.spacing_mm[1], 1.5 / grid.spacing_mm[2]])
    bright = (hu > _BRIGHT_HU[0]) & (hu < _BRIGHT_HU[1]) & brain.inside & (brain.depth_mm > _BRIGHT_DEPTH_MM)
    if bright.sum() * grid.voxel_ml < _BRIGHT_ML:
        return None
    return Remark("contrast", "The vessels are bright with contrast medium, which hides fresh blood.")


def _noise(grid: Grid, brain: Brain) -> Remark | None:
    """Measure how neighbours of 1 mm differ in the middle of the brain, where tissue is even."""
    deep = brain.inside & (brain.depth_mm > _EVEN_DEPTH_MM)
    spreads = []
    for plane, mask in zip(grid.hu, deep, strict=True):
        pairs = mask[:, :-1] & mask[:, 1:]
        if pairs.sum() > _FEWEST_PAIRS:
            spreads.append(float(np.median(np.abs(np.diff(plane, axis=1))[pairs])) / 0.954)
    if not spreads or np.median(spreads) < _NOISE_HU:
        return None
    return Remark(
        "noise_or_sharp_kernel",
        f"Neighbouring places of the brain differ by {np.median(spreads):.0f} HU: noise or a sharp kernel hides blood.",
    )
