"""What a caller sees whose credentials name the models that it may read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from radbus_contracts.facts import Scope, TriageStatus
from radbus_results.adapters.inferences import Search
from radbus_results.domain.case import Case, Completed, Intake, JobEntry
from radbus_results.domain.inference import Inference, Model
from radbus_results.handlers.bodies import ResultBody
from radbus_results.handlers.inferences import InferenceQuery, InferencesReader
from radbus_results.handlers.results import ResultsReader
from radbus_runtime.auth.principal import ForbiddenError, Principal

from tests.unit.results.test_reading import INFERENCE, SERIES, STUDY, T0, sign

OTHER = replace(INFERENCE, id="i2", job_id="j2", use_case="nodules", model=Model("m2", "nodule-ct", "1.0.0"))
ANYONE = Principal("site-a", "modality")
READER_OF_M2 = Principal("site-a", "reader", models=("m2",))
READER_OF_NONE = Principal("site-a", "reader", models=("m9",))


class Kept:
    """Inferences in memory, and what was last searched for."""

    def __init__(self) -> None:
        self.searched: Search | None = None

    async def get(self, _: str, inference_id: str) -> Inference | None:
        return {each.id: each for each in (INFERENCE, OTHER)}.get(inference_id)

    async def get_all(self, _: str, __: object) -> list[Inference]:
        return [INFERENCE, OTHER]

    async def search(self, _: str, search: Search, **__: object) -> list[Inference]:
        self.searched = search
        return []


class NoArchives:
    """No series has an archive."""

    async def keys(self, _: str, __: object) -> dict[str, str]:
        return {}


class OneCase:
    """A series with two results."""

    async def of_series(self, _: str, __: str) -> Case:
        completed = [Completed(each, TriageStatus.ROUTINE, usable=True, completed_at=T0) for each in ("i1", "i2")]
        jobs = tuple(
            JobEntry(
                job_id=each.inference_id, use_case=each.inference_id, scope=Scope.SERIES, revision=1, completed=each
            )
            for each in completed
        )
        return Case(study_instance_uid=STUDY, series_instance_uid=SERIES, revision=1, jobs=jobs)


class NoRecords:
    """Other services have recorded nothing."""

    async def series(self, _: str, __: str) -> None:
        return None

    async def study(self, _: str, __: str) -> Intake:
        return Intake()


def results() -> ResultsReader:
    return ResultsReader(OneCase(), Kept(), NoRecords(), sign=sign)  # type: ignore[arg-type]


@pytest.mark.parametrize(("caller", "seen"), [(ANYONE, ["i1", "i2"]), (READER_OF_M2, ["i2"])])
async def test_a_series_results_are_those_of_the_models_that_the_caller_may_read(caller: Principal, seen: list[str]):
    status, body = await results().answer(caller, SERIES)

    assert status == 200
    assert isinstance(body, ResultBody)
    assert [each.inference_id for each in body.results] == seen
    assert body.result.inference_id == seen[0]


async def test_a_series_whose_results_are_all_of_other_models_is_refused():
    with pytest.raises(ForbiddenError):
        await results().answer(READER_OF_NONE, SERIES)


async def test_an_inference_of_another_model_is_not_there_for_the_caller():
    reader = InferencesReader(Kept(), NoArchives(), sign=sign)  # type: ignore[arg-type]

    found = [await reader.one(each, "i1") for each in (ANYONE, READER_OF_M2)]

    assert found[0] is not None
    assert found[1] is None


async def test_the_history_is_searched_for_the_models_that_the_caller_may_read():
    kept = Kept()
    reader = InferencesReader(kept, NoArchives(), sign=sign)  # type: ignore[arg-type]

    await reader.page(READER_OF_M2, InferenceQuery())

    assert kept.searched is not None
    assert kept.searched.model_ids == ("m2",)
