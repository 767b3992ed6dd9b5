"""Compare the widths with those that a person read off, on the radiographs that are named, and print a table.

The reader was a developer, no radiologist, who marked the borders on the images (whole, and the lower half enlarged
with its local contrast raised) before seeing what the algorithm says: the heart's rightmost and leftmost border, and
the inner borders of the ribs where the chest is widest. Each was read once.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from chest_xray_algorithm import look
from numpy.typing import NDArray
from radbus_dicom.decoding import decode_into
from radbus_dicom.frames import read_frame_headers
from radbus_dicom.geometry import plan_volume
from radbus_machines.chest_xray.heart_and_lungs import Masks, heart_width, shorter_lung, thorax_width
from radbus_machines.radiograph import picture_of


class Reading(NamedTuple):
    """Columns of the image as it is hung, 0 at the patient's right."""

    heart: tuple[int, int]
    chest: tuple[int, int]


# By the first eight digits of the file's SHA-256: the images themselves are no part of radbus.
READINGS: Final = {
    "13d378bf": Reading(heart=(415, 770), chest=(118, 912)),  # sternal wires; apex beside a fat pad
    "cbf4d301": Reading(heart=(365, 785), chest=(108, 862)),
    "744d0137": Reading(heart=(620, 1430), chest=(110, 1685)),  # many masses
}


def main() -> None:
    """Print a line for each file that is named and was read."""
    sys.stdout.write(
        "| image | heart, right to left (read) | chest, right to left (read) | ratio (read) |\n|---|---|---|---|\n"
    )
    for path in map(Path, sys.argv[1:]):
        digest = sha256(path.read_bytes()).hexdigest()[:8]
        if (reading := READINGS.get(digest)) is not None:
            _report(digest, _loaded(path), reading)


def _loaded(path: Path) -> NDArray[np.float32]:
    (header,) = read_frame_headers(path)
    plan = plan_volume([header])
    voxels = np.zeros(plan.shape, np.float32)
    decode_into(path, plan.slots_by_path()[path], voxels)
    image: NDArray[np.float32] = voxels[0]
    return -image if header.radiograph and header.radiograph.inverted else image


def _report(name: str, image: NDArray[np.float32], reading: Reading) -> None:
    picture, box = picture_of(image)
    masks = Masks.of(look(picture).masks, box)
    heart, chest = heart_width(masks), thorax_width(masks)
    read = _ratio(reading.heart, reading.chest)
    if heart is None or chest is None:
        sys.stdout.write(f"| {name} | not found | not found | none ({read:.2f}) |\n")
        return
    found = (int(heart.start), int(heart.end)), (int(chest.start), int(chest.end))
    short = shorter_lung(masks)
    ratio = f"none, the {short} lung is short" if short else f"{_ratio(*found):.2f}"
    columns = (
        f"{pair[0]} to {pair[1]} ({marked[0]} to {marked[1]})" for pair, marked in zip(found, reading, strict=True)
    )
    sys.stdout.write(f"| {name} | {' | '.join(columns)} | {ratio} ({read:.2f}) |\n")


def _ratio(heart: tuple[int, int], chest: tuple[int, int]) -> float:
    return (heart[1] - heart[0] + 1) / (chest[1] - chest[0] + 1)


if __name__ == "__main__":
    main()
