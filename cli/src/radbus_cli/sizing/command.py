"""`radbus sizing`: how many of everything a load needs, and whether that holds in a simulated busiest hour."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from radbus_cli.console import Json, console, print_json
from radbus_cli.sizing.costs import MEASURED, CostsError, read_costs
from radbus_cli.sizing.load import USUAL_MIX, Load, Share
from radbus_cli.sizing.plan import Limits, Plan, plan

if TYPE_CHECKING:
    from radbus_cli.sizing.simulation import Simulated

_KIND = "use case:share:instances"


def sizing(
    studies_a_day: Annotated[float, typer.Argument(min=1, max=1e8)] = 1000,
    *,
    mix: Annotated[
        list[str] | None, typer.Option(metavar=_KIND, help="A kind of study, such as qct:0.1:250; once for each.")
    ] = None,
    busiest_hour: Annotated[
        float, typer.Option(min=1 / 24, max=1, help="The share of a day's studies that come in its busiest hour.")
    ] = 0.10,
    utilisation: Annotated[float, typer.Option(min=0.05, max=0.95, help="How full anything may get.")] = 0.6,
    costs_file: Annotated[
        Path, typer.Option("--costs", help="Measured on your machines by `make bench-cost`: bench-cost.json.")
    ] = MEASURED,
    simulate: Annotated[bool, typer.Option("--simulate", help="Try the plan in a simulated busiest hour.")] = False,
    as_json: Json = False,
) -> None:
    """Reckon what a load needs: replicas, workers, shards, bytes."""
    costs = read_costs(costs_file)
    load = Load(studies_a_day, tuple(_share(each) for each in mix) if mix else USUAL_MIX, busiest_hour)
    limits = Limits(utilisation)
    needed = plan(load, costs, limits)
    simulated = None
    if simulate:
        from radbus_cli.sizing import simulation

        simulated = simulation.simulate(needed, costs, limits=limits)
    if as_json:
        print_json({"plan": asdict(needed)} | ({"simulated": asdict(simulated)} if simulated else {}))
        return
    _print_plan(needed)
    if simulated:
        _print_simulated(simulated)


def _share(text: str) -> Share:
    """Read one kind of study.

    Raises:
        CostsError: It is not of the form that is asked for.
    """
    try:
        use_case, share, instances = text.split(":")
        return Share(use_case, float(share), int(instances))
    except ValueError:
        raise CostsError(f"{text!r}: expected {_KIND}, such as qct:0.1:250") from None


def _print_plan(needed: Plan) -> None:
    load = needed.load
    table = Table("what", "how many", "used in the busiest hour", title=f"{load.studies_a_day:,.0f} studies a day")
    for name, count in needed.replicas.items():
        table.add_row(name, f"{count}", f"{needed.cores[name]:.2f} cores")
    table.add_row("worker slots", f"{needed.worker_slots}", f"{needed.cores['worker']:.2f} cores")
    table.add_row("Tritons", f"{needed.tritons}", f"{needed.cores['triton']:.2f} cores")
    table.add_row(
        "MongoDB shards",
        f"{needed.mongo_shards}",
        f"{needed.cores['mongo']:.2f} cores, {needed.mongo_operations:,.0f} operations/s",
    )
    table.add_row(
        "RabbitMQ clusters",
        f"{needed.rabbitmq_clusters}",
        f"{needed.cores['rabbitmq']:.2f} cores, {needed.messages:,.0f} messages/s",
    )
    table.add_row(
        "object store",
        "",
        f"{needed.s3_puts:,.0f} PUT/s, {needed.s3_gets:,.0f} GET/s, "
        f"{needed.s3_bytes_in / 1e6:,.0f} MB/s in, {needed.s3_bytes_out / 1e6:,.0f} MB/s out",
    )
    table.add_row("objects a day", "", f"{needed.objects_bytes_a_day / 1e9:,.1f} GB")
    table.add_row("documents a day", "", f"{needed.documents_bytes_a_day / 1e9:,.2f} GB")
    console.print(table)


def _print_simulated(found: Simulated) -> None:
    table = Table("use case", "p50 s", "p95 s", "p99 s", title=f"{found.studies:,} studies simulated")
    for use_case, each in found.seconds.items():
        table.add_row(use_case, *(f"{each.get(name, 0):.2f}" for name in ("p50", "p95", "p99")))
    console.print(table)
    console.print("utilisation: " + ", ".join(f"{name} {share:.0%}" for name, share in found.utilisation.items()))
