"""The results API's archives: a label map as compressed NumPy, an output as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Geometry, LabelMap, MachineOutput

from radbus_dicom.derived.comparison import Comparison
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.errors import OutputNotValid


def make_npz(label_map: LabelMap, geometry: Geometry) -> bytes:
    """Return a `.npz` of `segmentation` uint8 [frames, rows, columns], `spacing_mm`, `origin_mm`, `direction`.

    A `notice` says what it is for.

    It is written without a time stamp, so that a re-run gives the same bytes; numpy's own writer puts one.
    """
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.float64] | NDArray[np.str_]] = {
        "segmentation": np.ascontiguousarray(label_map.labels, dtype=np.uint8),
        "spacing_mm": np.array(geometry.spacing_mm, dtype=np.float64),
        "origin_mm": np.array(geometry.origin_mm, dtype=np.float64),
        "direction": np.array(geometry.direction, dtype=np.float64),
        "notice": np.array(RESEARCH_USE_ONLY),
    }
    archive = BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED, compresslevel=1) as writer:
        for name, array in arrays.items():
            content = BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = ZipInfo(f"{name}.npy")
            entry.compress_type = ZIP_DEFLATED
            writer.writestr(entry, content.getbuffer())
    return archive.getvalue()


def output_json(
    output: MachineOutput,
    *,
    provenance: Provenance,
    remarks: tuple[str, ...] = (),
    comparison: Comparison | None = None,
) -> bytes:
    """Return an output as JSON: everything in it but the arrays.

    Raises:
        OutputNotValid: A value is NaN or infinite, which JSON has no word for.
    """
    content = {
        "summary": output.summary,
        "usable": output.usable,
        "values": dict(output.values),
        "measurements": [asdict(measurement) for measurement in output.measurements],
        "findings": [asdict(finding) for finding in output.findings],
        "label_maps": [
            {"name": label_map.name, "segments": [asdict(segment) for segment in label_map.segments]}
            for label_map in output.label_maps
        ],
        "key_frames": [asdict(key_frame) for key_frame in output.key_frames],
        "lines": [asdict(line) for line in output.lines],
        "impression": output.impression,
        "limits": list(output.limits),
        "remarks": list(remarks),
        "comparison": None if comparison is None else comparison.as_json(),
        "provenance": provenance.as_json(),
        "disclaimer": RESEARCH_USE_ONLY,
    }
    try:
        return json.dumps(content, allow_nan=False, ensure_ascii=False, sort_keys=True).encode()
    except (TypeError, ValueError):
        raise OutputNotValid("expected finite numbers, booleans and text as values and measurements") from None
