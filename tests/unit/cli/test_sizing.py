"""What a load needs, reckoned and simulated: from costs that are made up, and from those that were measured."""

from __future__ import annotations

import json

import pytest
from radbus_cli.sizing.costs import MEASURED, CostsError, Line, read_costs
from radbus_cli.sizing.load import USUAL_MIX, Load, Share
from radbus_cli.sizing.plan import Limits, plan
from radbus_cli.sizing.simulation import simulate, stations

ONE_KIND = (Share("qct", 1.0, 100),)


def row(instances: int, *, cpu_s: float, worker_s: list[float], **costs: float) -> dict[str, object]:
    return {
        "use_case": "qct",
        "instances": instances,
        "size_bytes": instances * 500_000,
        "costs": {"cpu_s.ingest": cpu_s, **costs},
        "worker_s": worker_s,
    }


@pytest.fixture
def costs(tmp_path):
    """A study of 100 instances takes ingest 1 s and a worker 6 s; MongoDB 0.1 s at any size."""
    path = tmp_path / "costs.json"
    kinds = [
        row(10, cpu_s=0.1, worker_s=[1.5, 1.5], **{"cpu_s.mongo": 0.1}),
        row(20, cpu_s=0.2, worker_s=[2.0, 2.0], **{"cpu_s.mongo": 0.1}),
    ]
    path.write_text(json.dumps({"kinds": kinds}))
    return read_costs(path)


def test_a_cost_is_one_part_for_the_study_and_one_for_each_instance():
    line = Line.through({40: 5.0, 120: 9.0})

    assert line.at(0) == pytest.approx(3.0)
    assert line.at(200) == pytest.approx(13.0)


def test_a_cost_that_falls_with_the_size_is_taken_as_level():
    assert Line.through({40: 1.2, 120: 1.0}) == Line(1.1, 0.0)


def test_nothing_is_said_to_cost_less_than_nothing():
    assert Line.through({40: 1.0, 120: 9.0}).at(1) > 0


def test_a_plan_keeps_everything_below_the_utilisation_that_was_asked_for(costs):
    load = Load(36_000, ONE_KIND, busiest_hour=0.1)  # one a second

    needed = plan(load, costs, Limits(utilisation=0.5))

    assert needed.cores["ingest"] == pytest.approx(1.0)
    assert needed.replicas["ingest"] == 2
    assert needed.worker_slots == 12
    assert needed.replicas["router"] == 2  # one may die


def test_ten_times_the_load_needs_ten_times_the_workers(costs):
    small, large = (plan(Load(studies, ONE_KIND), costs) for studies in (36_000, 360_000))

    assert large.worker_slots == pytest.approx(10 * small.worker_slots, rel=0.1)


def test_a_kind_that_was_never_measured_is_refused_by_its_name(costs):
    with pytest.raises(CostsError, match="mammo"):
        plan(Load(1000, (Share("mammo", 1.0, 4),)), costs)


def test_a_file_that_is_no_measurement_is_refused(tmp_path):
    path = tmp_path / "costs.json"
    path.write_text('{"kinds": [{"use_case": "qct"}]}')

    with pytest.raises(CostsError, match="bench-cost"):
        read_costs(path)


def test_in_the_simulation_each_station_is_as_full_as_the_plan_says(costs):
    limits = Limits(utilisation=0.6)
    needed = plan(Load(72_000, ONE_KIND), costs, limits)

    found = simulate(needed, costs, limits=limits, seconds=2400)

    share = needed.load.peak_rate * 6.0 / needed.worker_slots
    assert found.utilisation["worker"] == pytest.approx(share, rel=0.1)
    assert found.utilisation["ingest"] == pytest.approx(needed.cores["ingest"] / needed.replicas["ingest"], rel=0.1)
    assert found.seconds["qct"]["p50"] >= 7.0  # the time of the work itself


def test_with_too_few_workers_the_simulation_shows_that_studies_wait(costs):
    needed = plan(Load(72_000, ONE_KIND), costs, Limits(utilisation=0.6))
    starved = plan(Load(36_000, ONE_KIND), costs, Limits(utilisation=0.6))
    few = type(needed)(
        **{**{name: getattr(needed, name) for name in needed.__slots__}, "worker_slots": starved.worker_slots}
    )

    assert (
        simulate(few, costs, seconds=2400).seconds["qct"]["p95"]
        > 10 * simulate(needed, costs, seconds=2400).seconds["qct"]["p50"]
    )


def test_a_simulation_of_the_same_seed_is_the_same(costs):
    needed = plan(Load(72_000, ONE_KIND), costs)

    assert simulate(needed, costs, seconds=600, seed=7) == simulate(needed, costs, seconds=600, seed=7)


@pytest.mark.parametrize("studies_a_day", [1_000, 100_000, 1_000_000])
def test_a_plan_from_the_measured_costs_holds_in_its_simulated_busiest_hour(studies_a_day):
    costs, limits = read_costs(MEASURED), Limits()
    needed = plan(Load(studies_a_day, USUAL_MIX), costs, limits)

    found = simulate(needed, costs, limits=limits, seconds=min(1800.0, 20_000 / needed.load.peak_rate))

    assert all(share <= limits.utilisation * 1.15 for share in found.utilisation.values())
    for share in USUAL_MIX:
        alone = costs[share.use_case].worker_s.at(share.instances)
        assert found.seconds[share.use_case]["p95"] < 60 + 5 * alone
    assert set(stations(needed, limits)) == set(found.utilisation)
