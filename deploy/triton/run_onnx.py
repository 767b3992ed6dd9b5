"""Run an ONNX file in plain onnxruntime on the CPU: `run_onnx.py MODEL.onnx INPUTS.npz OUTPUTS.npz`.

Against this `radbus models compare` holds what a Triton answers. It runs in the Python of the local Triton, which has
onnxruntime; nothing of radbus is needed.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime


def main(model: str, inputs: str, outputs: str) -> None:
    """Write all outputs of the network by their names."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    with np.load(inputs) as given:
        results = session.run(names, dict(given))
    np.savez(outputs, **dict(zip(names, results, strict=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
