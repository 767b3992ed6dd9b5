"""Codes of machines as highdicom and pydicom want them."""

from __future__ import annotations

from typing import Final

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode
from radbus_machines.types import Code

from radbus_dicom.derived.provenance import MANUFACTURER, Provenance

OWN_SCHEME: Final = "99RADBUS"
_MEANING_CHARACTERS: Final = 64  # LO, PS3.5 6.2
CONTROLS: Final = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_UNIT_MEANINGS: Final = {
    "%": "percent",
    "1": "no units",
    "[hnsf'U]": "Hounsfield unit",
    "cm": "centimeter",
    "mL": "milliliter",
    "mm": "millimeter",
    "mm2": "square millimeter",
}


def coded(code: Code) -> PydicomCode:
    """Return a machine's code as pydicom's, in one line each; without a meaning its value stands for it."""
    value = one_line(code.value)
    return PydicomCode(value, code.scheme, one_line(code.meaning)[:_MEANING_CHARACTERS].strip() or value)


def unit(ucum: str) -> PydicomCode:
    """Return a UCUM unit (CID 82) with its meaning in words; none is the unit 1."""
    ucum = one_line(ucum) or "1"
    return PydicomCode(ucum, "UCUM", _UNIT_MEANINGS.get(ucum, ucum))


def one_line(text: str) -> str:
    """Return text without control characters, each run of white space as one space, as codes have to be."""
    return " ".join(text.translate(CONTROLS).split())


def algorithm_of(provenance: Provenance) -> hd.AlgorithmIdentificationSequence:
    """Say which machine judged, with the job and the weights (PS3.3 10.16)."""
    return hd.AlgorithmIdentificationSequence(
        name=provenance.machine,
        family=codes.cid7162.ArtificialIntelligence,
        version=provenance.machine_version,
        source=MANUFACTURER,
        parameters=algorithm_parameters(provenance),
    )


def algorithm_parameters(provenance: Provenance) -> dict[str, str]:
    """Say for what a machine was run, and with which weights."""
    parameters = {"job": provenance.job_id, "use_case": f"{provenance.use_case} {provenance.use_case_version}"}
    if provenance.weights_sha256:
        parameters["weights_sha256"] = provenance.weights_sha256
    return parameters
