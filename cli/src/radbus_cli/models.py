"""`radbus models`: whether the same model gives the same numbers on two Tritons, and in plain onnxruntime."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from radbus_contracts.errors import PermanentError
from rich.table import Table

from radbus_cli.console import console
from radbus_cli.local.layout import repository

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

app = typer.Typer(no_args_is_help=True, help="Models on Triton: compare what they answer.")

_TIMEOUT_S = 120.0

Tritons = Annotated[list[str], typer.Option("--triton", help="gRPC address (host:port) of a Triton; once or more.")]
Inputs = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="An .npz with the model's inputs by name.")]
OnnxFile = Annotated[
    Path | None, typer.Option("--onnx", exists=True, help="Compare with this file in onnxruntime, too.")
]
Tolerance = Annotated[float, typer.Option(help="The largest difference of any value that is still the same.", min=0)]


class NotComparableError(PermanentError):
    """There are not two to compare, one does not answer, or they answer with other outputs or shapes."""


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    inputs: Inputs,
    triton: Tritons,
    onnx: OnnxFile = None,
    tolerance: Tolerance = 1e-3,
) -> None:
    """Give the same inputs to a model in several places; exit with 1 where their outputs differ by more."""
    import numpy as np

    with np.load(inputs) as stored:
        given = dict(stored)
    answers = {f"Triton at {url}": asyncio.run(_on_triton(url, model, given)) for url in triton}
    if onnx is not None:
        answers = {f"onnxruntime, {onnx.name}": _in_onnxruntime(onnx, given), **answers}
    differences = differences_of(answers)
    table = Table("output", "place", "against", "largest difference", "")
    (first, _), *_ = answers.items()
    for (place, name), difference in differences.items():
        table.add_row(name, place, first, f"{difference:.3g}", "same" if difference <= tolerance else "DIFFERS")
    console.print(table)
    if not all(difference <= tolerance for difference in differences.values()):
        raise typer.Exit(1)


def differences_of(answers: Mapping[str, Tensors]) -> dict[tuple[str, str], float]:
    """Return the largest absolute difference by place and output, each place held against the first.

    Raises:
        NotComparableError: There is one place only, or an output is missing or of another shape or type.
    """
    import numpy as np

    (first, expected), *others = answers.items()
    if not others:
        raise NotComparableError("expected two places at least: --triton twice, or --onnx")
    found = {}
    for place, tensors in others:
        for name, array in expected.items():
            other = tensors.get(name)
            if other is None or other.shape != array.shape or other.dtype != array.dtype:
                said = "nothing" if other is None else f"{other.dtype} {other.shape}"
                raise NotComparableError(f"{name}: {first} has {array.dtype} {array.shape}, {place} has {said}")
            if array.dtype.kind in "OSU":
                found[place, name] = 0.0 if np.array_equal(array, other) else float("inf")
                continue
            apart = np.abs(array.astype(np.float64) - other.astype(np.float64))
            found[place, name] = float(apart.max()) if apart.size else 0.0  # NaN is never within a tolerance
    return found


async def _on_triton(url: str, model: str, given: Tensors) -> Tensors:
    from radbus_machines.tensors import triton_type
    from tritonclient.grpc import InferInput
    from tritonclient.grpc.aio import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    tensors = []
    for name, array in given.items():
        tensor = InferInput(name, list(array.shape), triton_type(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    async with InferenceServerClient(url) as client:
        try:
            metadata = await client.get_model_metadata(model, client_timeout=_TIMEOUT_S)
            result = await client.infer(model, tensors, client_timeout=_TIMEOUT_S)
        except InferenceServerException as error:
            raise NotComparableError(f"Triton at {url}: {error.message()}") from error
    return {output.name: _array(result.as_numpy(output.name)) for output in metadata.outputs}


def _array(found: Any) -> NDArray[Any]:
    import numpy as np

    return np.asarray([] if found is None else found)


def _in_onnxruntime(onnx: Path, given: Tensors) -> Tensors:
    """Run the file in the Python of the local Triton: radbus itself has no need of onnxruntime."""
    import numpy as np

    python = Path(os.environ.get("RADBUS_TRITON_VENV", repository() / ".local" / "triton-venv")) / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        named: dict[str, Any] = dict(given)
        np.savez(inputs, **named)
        script = repository() / "deploy" / "triton" / "run_onnx.py"
        done = subprocess.run(
            [python, script, onnx, inputs, outputs], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise NotComparableError(f"onnxruntime: {done.stderr.strip().rpartition(chr(10))[2]}")
        with np.load(outputs) as stored:
            return dict(stored)
