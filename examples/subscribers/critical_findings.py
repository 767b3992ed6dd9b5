"""Print each critical finding the moment that it is told. RADBUS_AMQP_URL says where RabbitMQ is."""

import asyncio
import json
import os

import aio_pika


async def main() -> None:
    """Subscribe and print until stopped."""
    connection = await aio_pika.connect_robust(os.environ["RADBUS_AMQP_URL"])
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("radbus.events", "inference.completed.v1.*.critical")
    print("listening", flush=True)
    async with queue.iterator() as messages:
        async for message in messages:
            async with message.process():
                event = json.loads(message.body)
                print(
                    f"critical: study {event['data']['study_instance_uid']} use case {event['data']['use_case']}",
                    flush=True,
                )


asyncio.run(main())
