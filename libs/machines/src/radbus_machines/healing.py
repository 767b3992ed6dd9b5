"""Whether the code of a model on Triton runs and answers, and loading it anew when it does not run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from radbus_machines.silence import Canary, Silences
from radbus_machines.tensors import smallest_inputs

log = structlog.get_logger(__name__)

CONTROL_TIMEOUT_S = 5.0
# Triton looks once a second whether the process it waits for still lives.
CANARY_TIMEOUT_S = 2.5
STUB_IS_DEAD = "is not healthy"
_LOAD_TIMEOUT_S = 60.0
_SPREAD_S = 1.0
_FINISH_S = 5.0


class Healer:
    """Looks at models, each worker at those that it needs; any number of workers may do so at once."""

    def __init__(self, connected: Callable[[], InferenceServerClient], *, silences: Silences) -> None:
        self._connected = connected
        self._silences = silences
        self._healing: dict[str, asyncio.Task[None]] = {}

    async def check(self, name: str) -> str | None:
        """Return what is wrong with a model, or None; mending it begins, and takes longer than who asks may wait."""
        if not await self._connected().is_model_ready(name, client_timeout=CONTROL_TIMEOUT_S):
            self._begin(name, is_dead=False)
            return f"model {name} is not ready"
        # At once: who asks for readiness has little more time than the canary.
        answers, canary = await asyncio.gather(self._answers(name), self._canary(name))
        if canary is None:
            self._begin(name, is_dead=False)
            return f"the process of model {name} had died; it is loaded anew"
        return self._silences.judge(name, canary, answers=answers)

    async def _canary(self, model: str) -> Canary | None:
        """Try the smallest inference; None is a dead process, of which Triton says for ever that it is ready."""
        metadata = await self._connected().get_model_metadata(model, client_timeout=CONTROL_TIMEOUT_S)
        try:
            await self._connected().infer(model, smallest_inputs(metadata), client_timeout=CANARY_TIMEOUT_S)
        except InferenceServerException as error:
            if STUB_IS_DEAD in (error.message() or ""):
                return None
            return Canary.LATE if status_of(error) == "DEADLINE_EXCEEDED" else Canary.FAILED
        return Canary.ANSWERED

    async def _answers(self, model: str) -> int:
        """Count what a model has answered since it was loaded, to all workers."""
        found = await self._connected().get_inference_statistics(model, client_timeout=CONTROL_TIMEOUT_S)
        return sum(each.inference_stats.success.count for each in found.model_stats)

    async def heal(self, model: str, *, is_dead: bool = False) -> None:
        """Load a model that is not loaded, or whose process has died: Triton says of that for ever that it is ready.

        `is_dead` says that a request has found it so: of a model with several processes the next one may find another.
        """
        await asyncio.shield(self._begin(model, is_dead=is_dead))

    async def finish(self) -> None:
        """Give what is being loaded a moment: a model that was unloaded only would be away until somebody looks."""
        if self._healing:
            await asyncio.wait(self._healing.values(), timeout=_FINISH_S)

    def _begin(self, model: str, *, is_dead: bool) -> asyncio.Task[None]:
        # In a task of its own: whoever asks may have less time than it takes, and between the two the model is away.
        if model not in self._healing:
            task = asyncio.create_task(self._load_anew(model, is_dead=is_dead))
            self._healing[model] = task
            task.add_done_callback(lambda _: self._healing.pop(model, None))
        return self._healing[model]

    async def _load_anew(self, model: str, *, is_dead: bool) -> None:
        # Every worker sees it; the one that is first spares the others unloading what was just loaded.
        await asyncio.sleep(random.uniform(0, _SPREAD_S))  # noqa: S311 - to be apart, not to be secret
        try:
            if await self._connected().is_model_ready(model, client_timeout=CONTROL_TIMEOUT_S):
                if not is_dead and await self._canary(model) is not None:
                    return
                await self._connected().unload_model(model, client_timeout=_LOAD_TIMEOUT_S)
        except InferenceServerException as error:
            # It may have been unloaded all the same: then it must be loaded.
            log.info("triton.model_not_unloaded", model=model, status=status_of(error))
        try:
            await self._connected().load_model(model, client_timeout=_LOAD_TIMEOUT_S)
        except InferenceServerException as error:
            log.warning("triton.model_not_healed", model=model, status=status_of(error))
        else:
            log.warning("triton.model_healed", model=model)


def status_of(error: InferenceServerException) -> str:
    """Name the status that Triton, or the connection to it, has given."""
    return str(error.status()).removeprefix("StatusCode.")
