"""`radbus events tail`: the facts as they pass on the bus."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any

import typer
from radbus_contracts.errors import TransientError
from radbus_contracts.topology import EVENTS
from rich.markup import escape

from radbus_cli.console import Json, console
from radbus_cli.target import Target


class BrokerUnreachableError(TransientError):
    """RabbitMQ did not answer, or went away."""


app = typer.Typer(no_args_is_help=True, help="Events on the bus.")


@app.command()
def tail(
    *,
    key: Annotated[str, typer.Option(help="Routing key to bind, such as inference.completed.v1.*.critical.")] = "#",
    count: Annotated[int | None, typer.Option(help="Stop after so many.", min=1)] = None,
    heartbeats: Annotated[bool, typer.Option(help="Show the workers' heartbeats too.")] = False,
    as_json: Json = False,
) -> None:
    """Print events until interrupted."""
    url = Target().stack.environment()["RADBUS_AMQP_URL"]
    with suppress(KeyboardInterrupt):
        asyncio.run(_tail(url, key, count, heartbeats=heartbeats, as_json=as_json))


async def _tail(url: str, key: str, count: int | None, *, heartbeats: bool, as_json: bool) -> None:
    import aio_pika
    from aio_pika.exceptions import AMQPError

    try:
        connection = await aio_pika.connect(url, timeout=10)
    except (OSError, TimeoutError, AMQPError) as error:
        raise BrokerUnreachableError(
            f"no answer from RabbitMQ ({type(error).__name__}); see `radbus status`"
        ) from error
    async with connection, connection.channel() as channel:
        await channel.set_qos(prefetch_count=100)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS, routing_key=key)
        shown = 0
        async with queue.iterator(no_ack=True) as messages:
            async for message in messages:
                if not heartbeats and (message.routing_key or "").startswith("worker.heartbeat"):
                    continue
                _show(json.loads(message.body), as_json=as_json)
                shown += 1
                if count is not None and shown >= count:
                    return


def _show(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(event))
        return
    data = event["data"]
    details = " ".join(f"{name}={value}" for name, value in data.items() if isinstance(value, str | int | float))
    time, kind, subject = event["time"][11:23], escape(event["type"]), escape(str(event["subject"]))
    console.print(f"[dim]{time}[/] [bold]{kind}[/] {subject} [dim]{escape(details)}[/]", soft_wrap=True)
