"""What readers are told of results whose outputs are not kept any more, in the words of each contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from radbus_results.domain.inference import Inference
from radbus_results.domain.run import Run, RunState
from radbus_results.handlers.bodies import ResultBody
from radbus_results.handlers.inferences import InferencesReader
from radbus_results.handlers.results import ResultsReader
from radbus_results.handlers.runs import RunResults
from radbus_runtime.auth.principal import Principal
from radbus_runtime.dialects import InnerEyeError
from radbus_runtime.documented import RefusalBody

from tests.unit.results.test_reading import INFERENCE, SERIES, sign
from tests.unit.results.test_restricted import ANYONE, OTHER, NoArchives, NoRecords, OneCase

ERASED_AT = datetime(2026, 5, 4, tzinfo=UTC)


class Kept:
    """Inferences in memory."""

    def __init__(self, *inferences: Inference) -> None:
        self._inferences = inferences

    async def get(self, _: str, __: str) -> Inference:
        return self._inferences[0]

    async def get_all(self, _: str, __: object) -> Sequence[Inference]:
        return self._inferences


class ErasedRun:
    """A run whose result was erased."""

    async def find(self, _: str, __: str) -> Run:
        return Run("lung-ct:1", RunState.FAILED, erased=True)


def erased(inference: Inference) -> Inference:
    return replace(inference, erased_at=ERASED_AT, files={}, summary="")


async def test_a_series_whose_results_are_all_erased_is_gone():
    reader = ResultsReader(OneCase(), Kept(erased(INFERENCE), erased(OTHER)), NoRecords(), sign=sign)  # type: ignore[arg-type]

    status, body = await reader.answer(ANYONE, SERIES)

    assert status == 410
    assert isinstance(body, RefusalBody)
    assert "were erased on 2026-05-04" in body.message


async def test_of_several_results_those_that_are_kept_are_shown():
    reader = ResultsReader(OneCase(), Kept(erased(INFERENCE), OTHER), NoRecords(), sign=sign)  # type: ignore[arg-type]

    status, body = await reader.answer(ANYONE, SERIES)

    assert status == 200
    assert isinstance(body, ResultBody)
    assert [each.inference_id for each in body.results] == [OTHER.id]


async def test_an_erased_inference_says_so():
    reader = InferencesReader(Kept(erased(INFERENCE)), NoArchives(), sign=sign)  # type: ignore[arg-type]

    body = await reader.one(ANYONE, INFERENCE.id)

    assert isinstance(body, RefusalBody)
    assert INFERENCE.id in body.message


async def test_the_erased_result_of_a_run_is_a_fault_of_its_contract():
    with pytest.raises(InnerEyeError) as told:
        await RunResults(ErasedRun(), None).find(Principal("site-a", "gateway"), "r")  # type: ignore[arg-type]

    assert (told.value.fault.status, told.value.fault.code) == (410, "GONE")
