"""What the segmentation cannot judge, as codes with a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lung_ct_algorithm.airways import Airways
from lung_ct_algorithm.grid import CoarseGrid, Mask, in_plane
from lung_ct_algorithm.sides import LEFT_LUNG, RIGHT_LUNG

FEWEST_FRAMES = 8
THICK_MM = 3.0
_LEAST_LUNGS_ML = 400.0
_LEAST_HEIGHT_MM = 80.0
_CUT_MM2 = 150.0
_CUT_SIDE_ML = 2.0
_GAS_ML = 40.0
_CONTRAST_HU = 150.0
_CONTRAST_ML = 15.0
# The right lung is normally the larger (about 1.1 to 1.3 times the left).
_LEAST_OF_OTHER = {"right": 0.75, "left": 0.6}
_NOISE_PIXELS = 6
_NOISE_HU = 30.0  # in air, where values below -1024 HU are cut off: about 50 HU in tissue


@dataclass(frozen=True, slots=True)
class Remark:
    """A code that programs read and a sentence that people read; where to look, as a frame of the volume and why."""

    code: str
    text: str
    frame: int | None = None
    title: str = ""


def not_a_chest() -> Remark:
    """Say that the images show no lungs that can be measured."""
    return Remark("not_a_chest", "No lungs that can be measured were found; the images do not seem to show a chest.")


def too_few_slices(frames: int) -> Remark:
    """Say that there are too few frames for a volume."""
    return Remark("too_few_slices", f"{frames} slices are too few to measure lungs; at least {FEWEST_FRAMES} needed.")


def judge(
    grid: CoarseGrid, lungs: NDArray[np.uint8], airways: Airways, gas: Mask, volume: NDArray[np.int16]
) -> list[Remark]:
    """Return what limits the answer; `lungs` are coarse labels, `volume` lies along the patient axes."""
    right, left = ((lungs == side).sum() * grid.voxel_ml for side in (RIGHT_LUNG, LEFT_LUNG))
    planes = np.flatnonzero(lungs.any(axis=(1, 2)))
    height_mm = (planes[-1] - planes[0] + 1) * grid.spacing_mm[0] if planes.size else 0.0
    if right + left < _LEAST_LUNGS_ML or (height_mm < _LEAST_HEIGHT_MM and not airways.found):
        return [not_a_chest()]
    remarks = [
        _field_of_view(grid, lungs),
        _balance(float(right), float(left)),
        _dense_share(grid, lungs),
        _gas(grid, gas, lungs),
        _contrast(grid, lungs),
        _noise(grid, airways, volume),
        _thick(grid),
    ]
    return [remark for remark in remarks if remark is not None]


def _field_of_view(grid: CoarseGrid, lungs: NDArray[np.uint8]) -> Remark | None:
    mask = lungs > 0
    pixel_mm2 = grid.spacing_mm[1] * grid.spacing_mm[2]
    ends = [name for name, z in (("below", 0), ("above", -1)) if mask[z].sum() * pixel_mm2 > _CUT_MM2]
    sides = mask[:, 0].sum() + mask[:, -1].sum() + mask[:, :, 0].sum() + mask[:, :, -1].sum()
    if sides * grid.voxel_ml > _CUT_SIDE_ML:
        ends.append("at the sides")
    if not ends:
        return None
    where = " and ".join(ends)
    return Remark(
        "field_of_view_cut", f"The field of view cuts the lungs {where}; volumes are of the imaged part only."
    )


def _balance(right_ml: float, left_ml: float) -> Remark | None:
    small, large, name = (right_ml, left_ml, "right") if right_ml < left_ml else (left_ml, right_ml, "left")
    if small < 0.08 * large:
        return Remark("one_lung", f"Hardly any aerated {name} lung was found; values are of the other lung.")
    if small < _LEAST_OF_OTHER[name] * large:
        return Remark(
            "collapsed_or_consolidated",
            f"The {name} lung measures {100 * small / large:.0f} % of the other: collapse, consolidation, effusion, "
            "a mass or surgery may be the cause; dense lung at the chest wall or mediastinum is not counted.",
        )
    return None


def _dense_share(grid: CoarseGrid, lungs: NDArray[np.uint8]) -> Remark | None:
    share = float((grid.hu[lungs > 0] > -300.0).mean())
    if share < 0.2:
        return None
    return Remark("collapsed_or_consolidated", f"{100 * share:.0f} % of the segmented lung is dense (above -300 HU).")


def _gas(grid: CoarseGrid, gas: Mask, lungs: NDArray[np.uint8]) -> Remark | None:
    planes = np.flatnonzero(lungs.any(axis=(1, 2)))
    gas_ml = float(gas[planes[0] :].sum()) * grid.voxel_ml
    if gas_ml < _GAS_ML:
        return None
    return Remark(
        "gas_outside_lungs",
        f"About {gas_ml:.0f} mL of gas beside the lungs was left out: stomach, bowel, hernia or pneumothorax.",
    )


def _contrast(grid: CoarseGrid, lungs: NDArray[np.uint8]) -> Remark | None:
    """Look for bright blood between the lungs, in front of the spine and behind the sternum."""
    mask = lungs > 0
    rows, columns = np.flatnonzero(mask.any(axis=(0, 2))), np.flatnonzero(mask.any(axis=(0, 1)))
    depth, width = rows[-1] - rows[0], columns[-1] - columns[0]
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    box = (
        slice(planes[0], planes[-1] + 1),
        slice(rows[0] + int(0.15 * depth), rows[0] + int(0.6 * depth)),
        slice(columns[0] + int(0.3 * width), columns[0] + int(0.75 * width)),
    )
    bright = ndimage.binary_opening(grid.hu[box] > _CONTRAST_HU, structure=in_plane(3))
    if bright.sum() * grid.voxel_ml < _CONTRAST_ML:
        return None
    return Remark("contrast", "The blood is bright with contrast medium, which raises the density of the lungs.")


def _noise(grid: CoarseGrid, airways: Airways, volume: NDArray[np.int16]) -> Remark | None:
    """Measure the spread of the voxels in the middle of the trachea, plane by plane."""
    core = ndimage.binary_erosion(airways.lumen, structure=in_plane(2))
    shape = (volume.shape[1], volume.shape[2])
    spreads = [
        float(volume[z * grid.factors[0]][grid.refine(core[z], shape)].std())
        for z in np.flatnonzero(core.sum(axis=(1, 2)) >= _NOISE_PIXELS)
    ]
    if len(spreads) < 3 or float(np.median(spreads)) < _NOISE_HU:
        return None
    return Remark(
        "noise_or_sharp_kernel",
        f"The air in the trachea varies by {np.median(spreads):.0f} HU: noise puts normal lung below -950 HU.",
    )


def _thick(grid: CoarseGrid) -> Remark | None:
    slice_mm = max(spacing / factor for spacing, factor in zip(grid.spacing_mm, grid.factors, strict=True))
    if slice_mm <= THICK_MM:
        return None
    return Remark("thick_slices", f"Slices lie {slice_mm:.1f} mm apart; small clusters of emphysema are averaged away.")
