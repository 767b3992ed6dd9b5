"""What every label map must keep to before an object is derived from it."""

from __future__ import annotations

import numpy as np
from radbus_machines.types import LabelMap

from radbus_dicom.errors import OutputNotValid


def check_labels(label_map: LabelMap, *, frames: int) -> None:
    """Check that there are labels for each frame, and one segment for each label.

    Raises:
        OutputNotValid: They do not match.
    """
    if label_map.labels.shape[0] != frames:
        raise OutputNotValid(f"expected one label frame for each of the {frames} source frames")
    numbers = {segment.number for segment in label_map.segments}
    if len(numbers) != len(label_map.segments) or not numbers <= set(range(1, 256)):
        raise OutputNotValid("expected segment numbers from 1 to 255, each once")
    present = np.zeros(256, np.bool_)
    for frame in label_map.labels:  # one at a time: counting takes eight times the labels' memory
        present |= np.bincount(frame.ravel(), minlength=256) > 0
    unknown = set(np.flatnonzero(present).tolist()) - numbers - {0}
    if unknown:
        raise OutputNotValid(f"expected a segment for each label; {sorted(unknown)} have none")
