"""The client of Triton Inference Server: bounded, with deadlines, through shared memory where that is possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import numpy as np
import structlog
from radbus_contracts.errors import PermanentError, ServerAwayError, TransientError
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from radbus_machines.healing import CONTROL_TIMEOUT_S, STUB_IS_DEAD, Healer, status_of
from radbus_machines.protocol import Array, OutputShapes
from radbus_machines.shared_blocks import (
    SharedBlock,
    SharedMemoryFullError,
    is_leftover,
    make_block,
    remove_leftovers,
)
from radbus_machines.silence import Silences
from radbus_machines.tensors import (
    Layout,
    OutputAbsentError,
    TensorError,
    check_output,
    check_request,
    is_bytes,
    triton_type,
)

log = structlog.get_logger(__name__)

SHARED_FROM_BYTES = 1024 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
# A request, or the model's repository, is at fault: the same again gives the same. All else may pass.
_REFUSALS = frozenset({"INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE", "FAILED_PRECONDITION", "PERMISSION_DENIED"})
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
_TEXT_LIMIT = 300


class TritonUnavailableError(TransientError):
    """Triton is away, too slow, too busy, or its model failed or is not ready."""


class TritonAwayError(TritonUnavailableError, ServerAwayError):
    """Triton does not answer at all."""


class TritonRefusedError(PermanentError):
    """Triton refused a request, or the model is not what its machine expects."""


class SharedMemoryUse(StrEnum):
    """Whether large tensors go through system shared memory."""

    AUTO = "auto"  # when Triton's address is this machine's loopback
    ON = "on"
    OFF = "off"


class TritonClient:
    """One connection to Triton, for all models of a process."""

    def __init__(
        self, url: str, *, shared_memory: SharedMemoryUse = SharedMemoryUse.AUTO, silent_s: float = 120.0
    ) -> None:
        """Describe the connection to gRPC at `url` (host:port), made at first use.

        A model that answers nobody for `silent_s` is not ready.
        """
        self._url = url
        self._connection: InferenceServerClient | None = None
        local = url.rpartition(":")[0] in _LOOPBACK
        self._left: set[str] = set()
        self._silences = Silences(silent_s)
        self._healer = Healer(lambda: self.connection, silences=self._silences)
        self._shares = shared_memory is SharedMemoryUse.ON or (shared_memory is SharedMemoryUse.AUTO and local)

    @property
    def connection(self) -> InferenceServerClient:
        """The connection, made by the first caller within the event loop."""
        if self._connection is None:
            self._connection = InferenceServerClient(self._url)
        return self._connection

    async def check(self, models: Sequence[str]) -> str | None:
        """Return what is wrong, or None: the server answers, and the code of each of these models runs.

        Whether the server calls itself ready does not count: a model that is none of these and could not be loaded
        makes it unready for ever.
        """
        try:
            if not await self.connection.is_server_live(client_timeout=CONTROL_TIMEOUT_S):
                return "Triton is not alive"
            found = await asyncio.gather(*(self._healer.check(name) for name in models))
        except InferenceServerException as error:
            return f"Triton does not answer ({status_of(error)})"
        return next((wrong for wrong in found if wrong), None)

    async def heal(self, model: str, *, is_dead: bool) -> None:
        """Load a model that is not loaded, or whose process a request has found dead."""
        await self._healer.heal(model, is_dead=is_dead)

    async def forget_leftovers(self) -> None:
        """Let Triton forget the blocks of clients that were killed: it would hold their memory for ever."""
        if not self._shares:
            return
        try:
            await asyncio.to_thread(remove_leftovers)
            status = await self.connection.get_system_shared_memory_status(client_timeout=CONTROL_TIMEOUT_S)
        except InferenceServerException as error:
            log.info("triton.leftovers_kept", status=status_of(error))
            return
        await self._unregister(*(name for name in status.regions if is_leftover(name)))

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._healer.finish()
            await self._unregister(*self._left)
            await self._connection.close()

    @asynccontextmanager
    async def region(self, size_bytes: int) -> AsyncIterator[SharedBlock | None]:
        """Lend a block that Triton knows by its name; None where there is none to be had and tensors travel plain."""
        block = await self._registered(size_bytes) if self._shares and size_bytes else None
        try:
            yield block
        finally:
            if block is not None:
                block.remove()
                await self._unregister(block.name, *self._left)

    async def _registered(self, size_bytes: int) -> SharedBlock | None:
        try:
            block = await make_block(size_bytes)
        except SharedMemoryFullError as error:
            log.warning("triton.sharing_skipped", error=str(error))
            return None
        try:
            await self.connection.register_system_shared_memory(
                block.name, f"/{block.name}", size_bytes, client_timeout=CONTROL_TIMEOUT_S
            )
        except InferenceServerException as error:
            block.remove()
            if status_of(error) in _REFUSALS or status_of(error) == "INTERNAL":
                # Another container or another user: it will not see our memory later either.
                self._shares = False
                log.warning("triton.sharing_refused", status=status_of(error))
            return None
        except BaseException:
            block.remove()
            raise
        return block

    async def _unregister(self, *names: str) -> None:
        for name in names:
            self._left.discard(name)
            try:
                await self.connection.unregister_system_shared_memory(name, client_timeout=CONTROL_TIMEOUT_S)
            except InferenceServerException as error:
                # An abandoned request still uses it: Triton refuses now and is asked again later.
                self._left.add(name)
                log.info("triton.region_left", status=status_of(error))


class TritonModel:
    """A model on Triton, as a machine calls it (`radbus_machines.protocol.Model`)."""

    def __init__(self, client: TritonClient, name: str, *, timeout_s: float, in_flight: int = 2) -> None:
        """Describe a model; at most `in_flight` requests run at a time, each for `timeout_s` at most."""
        self.name = name
        self._client = client
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(in_flight)
        self._metadata: Any = None

    async def infer(self, inputs: Mapping[str, Array], output_shapes: OutputShapes) -> Mapping[str, Array]:
        """Run the model once and return its outputs by name.

        Raises:
            TritonAwayError: Triton does not answer; nothing was asked of it.
            TritonUnavailableError: Triton went away, is too slow, or its model failed.
            TritonRefusedError: Triton refused the request, or an output has not the expected shape.
        """
        try:
            check_request(await self._described(), inputs, output_shapes)
            layout = Layout.of(inputs, output_shapes, from_bytes=SHARED_FROM_BYTES)
            async with self._free, self._client.region(layout.size_bytes) as block:
                answer = await self._ask(inputs, output_shapes, layout if block else Layout.empty(), block)
        except OutputAbsentError as error:
            raise TritonUnavailableError(f"model {self.name}: {error}") from error
        except TensorError as error:
            raise TritonRefusedError(f"model {self.name}: {error}") from error
        except InferenceServerException as error:
            translated = self._translated(error)
            is_dead = STUB_IS_DEAD in str(translated)
            if is_dead or status_of(error) == "NOT_FOUND":
                await self._client.heal(self.name, is_dead=is_dead)  # the next attempt finds it
            raise translated from None
        return answer

    async def _described(self) -> Any:
        if self._metadata is None:
            try:
                self._metadata = await self._client.connection.get_model_metadata(
                    self.name, client_timeout=CONTROL_TIMEOUT_S
                )
            except InferenceServerException as error:
                if status_of(error) not in _AWAY:
                    raise
                # Said only before a request is sent: one at which Triton dies is to cost its task an attempt.
                raise TritonAwayError(f"model {self.name}: {status_of(error)}: Triton does not answer") from None
        return self._metadata

    async def _ask(
        self, inputs: Mapping[str, Array], output_shapes: OutputShapes, layout: Layout, block: SharedBlock | None
    ) -> Mapping[str, Array]:
        given = []
        for name, array in inputs.items():
            tensor = InferInput(name, list(array.shape), triton_type(array.dtype))
            if block is not None and name in layout.inputs:
                part = layout.inputs[name]
                target = block.array(array.shape, array.dtype, offset_bytes=part.offset_bytes)
                await asyncio.to_thread(np.copyto, target, array)
                tensor.set_shared_memory(block.name, part.size_bytes, part.offset_bytes)
            else:
                tensor.set_data_from_numpy(np.ascontiguousarray(array))
            given.append(tensor)
        wanted = []
        for name in output_shapes:
            output = InferRequestedOutput(name)
            if block is not None and name in layout.outputs:
                part = layout.outputs[name]
                output.set_shared_memory(block.name, part.size_bytes, part.offset_bytes)
            wanted.append(output)
        result = await self._client.connection.infer(self.name, given, outputs=wanted, client_timeout=self._timeout_s)
        return {name: await _output(result, name, output_shapes, layout, block) for name in output_shapes}

    def _translated(self, error: InferenceServerException) -> TransientError | PermanentError:
        self._metadata = None  # the model may have been replaced by another version
        status = status_of(error)
        # A model sees no patient data, so what it says of itself may be repeated; the lines after are its traceback.
        said = (error.message() or "").partition("\n")[0][:_TEXT_LIMIT]
        text = f"model {self.name}: {status}: {said}"
        return TritonRefusedError(text) if status in _REFUSALS else TritonUnavailableError(text)


async def _output(
    result: Any, name: str, output_shapes: OutputShapes, layout: Layout, block: SharedBlock | None
) -> Array:
    shape, dtype = output_shapes[name]
    description = result.get_output(name)
    if block is None or name not in layout.outputs:
        try:
            array: Array | None = result.as_numpy(name)
        except ValueError:  # fewer bytes than its shape says
            array = None
        check_output(name, description, array, shape, dtype)
        assert array is not None  # noqa: S101 - check_output has seen to it
        return array if is_bytes(dtype) else array.copy()
    part = layout.outputs[name]
    shared: Array = block.array(shape, dtype, offset_bytes=part.offset_bytes)
    check_output(name, description, shared, shape, dtype)
    return await asyncio.to_thread(np.array, shared)
