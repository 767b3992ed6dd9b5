"""Codes of machines as highdicom and pydicom want them."""

from __future__ import annotations

from typing import Final

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode
from radbus_machines.types import Code

from radbus_dicom.derived.provenance import MANUFACTURER, Provenance

OWN_SCHEME: Final = "99RADBUS"
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
    """Return a machine's code as pydicom's."""
    return PydicomCode(code.value, code.scheme, code.meaning)


def unit(ucum: str) -> PydicomCode:
    """Return a UCUM unit (CID 82) with its meaning in words."""
    return PydicomCode(ucum, "UCUM", _UNIT_MEANINGS.get(ucum, ucum))


def algorithm_of(provenance: Provenance) -> hd.AlgorithmIdentificationSequence:
    """Say which machine judged, with the job and the weights (PS3.3 10.16)."""
    parameters = {"job": provenance.job_id, "use_case": f"{provenance.use_case} {provenance.use_case_version}"}
    if provenance.weights_sha256:
        parameters["weights_sha256"] = provenance.weights_sha256
    return hd.AlgorithmIdentificationSequence(
        name=provenance.machine,
        family=codes.cid7162.ArtificialIntelligence,
        version=provenance.machine_version,
        source=MANUFACTURER,
        parameters=parameters,
    )
