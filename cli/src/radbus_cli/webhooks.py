"""`radbus webhooks`: who is told by HTTP of what became of an institution's images."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final
from uuid import uuid4

import typer
from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import TriageStatus
from radbus_runtime.audit.codes import ObjectKind

from radbus_cli.callers import print_records
from radbus_cli.console import Json, print_json
from radbus_cli.database import changing_rights, in_database
from radbus_cli.filters import NotSureError, Yes, duration_of
from radbus_cli.target import Target

if TYPE_CHECKING:
    from radbus_runtime.webhooks.deliveries import Deliveries
    from radbus_runtime.webhooks.signing import WebhookKeys
    from radbus_runtime.webhooks.subscriptions import Webhook
    from radbus_storage.documents import Document, Documents

app = typer.Typer(no_args_is_help=True, help="Webhooks: who is told by HTTP of results.")

WebhookId = Annotated[str, typer.Argument(help="The id that `radbus webhooks list` shows.")]
OfWebhook = Annotated[str | None, typer.Option("--webhook", help="Only those of this webhook.")]
NewerThan = Annotated[
    timedelta | None,
    typer.Option(parser=duration_of, metavar="TIME", help="Only those of at most so long ago: 90s, 30m, 2h, 7d."),
]
_TEST_WITHIN_S: Final = 60
_DAY_S: Final = 24 * 3600
_STATES: Final = ("waiting", "delivered", "failed")


class NoKeyError(PermanentError):
    """Secrets of webhooks cannot be made here."""


class TestFailedError(PermanentError):
    """A receiver did not take a test."""


@app.command()
def add(
    institution: Annotated[str, typer.Argument(help="Of whose images it is told.")],
    url: Annotated[str, typer.Argument(help="Where it is told, as https://host/path.")],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(help="inference.completed, inference.failed or series.unrouted; all, if none is given."),
    ] = None,
    use_case: Annotated[list[str] | None, typer.Option(help="Only of this use case; of any, if none is given.")] = None,
    triage: Annotated[TriageStatus | None, typer.Option(help="Only of results that are so.")] = None,
    as_json: Json = False,
) -> None:
    """Register a receiver, and print its id and the secret by which it checks that radbus calls."""
    keys = _keys()
    types = tuple(f"radbus.{each}.v1" for each in event or ())

    async def work(documents: Documents) -> Webhook:
        from radbus_runtime.auth.tokens import check_institution
        from radbus_runtime.webhooks.subscriptions import Webhooks

        check_institution(institution)
        async with changing_rights(documents, institution=institution) as whose:
            webhook = await Webhooks(documents).add(
                institution, url, types=types, use_cases=tuple(use_case or ()), triage=triage
            )
            whose.append((ObjectKind.WEBHOOK, webhook.id))
            return webhook

    webhook = in_database(work)
    shown = {"id": webhook.id, "secret": keys.secret_of(webhook.id)}
    if as_json:
        print_json(shown)
    else:
        typer.echo("\n".join(f"{name} {value}" for name, value in shown.items()))


@app.command("list")
def list_all(
    *,
    institution: Annotated[str | None, typer.Option(help="Only this institution's.")] = None,
    as_json: Json = False,
) -> None:
    """List the receivers."""

    async def work(documents: Documents) -> list[Webhook]:
        from radbus_runtime.webhooks.subscriptions import Webhooks

        return await Webhooks(documents).list(institution)

    shown = [
        {
            "id": each.id,
            "institution": each.institution,
            "url": each.url,
            "events": [name.removeprefix("radbus.").removesuffix(".v1") for name in each.types],
            "use_cases": list(each.use_cases),
            "triage": each.triage.value if each.triage else None,
            "created": each.created_at,
        }
        for each in in_database(work)
    ]
    print_records(shown, as_json=as_json)


@app.command()
def secret(webhook_id: WebhookId) -> None:
    """Print the secret of a receiver."""
    keys = _keys()

    async def work(documents: Documents) -> str:
        webhook = await _known(documents, webhook_id)
        async with changing_rights(documents, institution=webhook.institution) as whose:
            whose.append((ObjectKind.WEBHOOK, webhook.id))
            return keys.secret_of(webhook.id)

    typer.echo(in_database(work))


@app.command()
def remove(webhook_id: WebhookId) -> None:
    """Remove a receiver: it is told nothing more, nor what still waits for it."""

    async def work(documents: Documents) -> None:
        from radbus_runtime.webhooks.subscriptions import Webhooks

        webhook = await _known(documents, webhook_id)
        async with changing_rights(documents, institution=webhook.institution) as whose:
            whose.append((ObjectKind.WEBHOOK, webhook.id))
            await Webhooks(documents).remove(webhook.id)

    in_database(work)
    typer.echo(f"removed {webhook_id}")


@app.command()
def test(webhook_id: WebhookId) -> None:
    """Have the results service call a receiver with an event that says nothing, and tell what came of it."""

    async def work(documents: Documents) -> Document:
        from radbus_contracts.envelope import Event, Payload
        from radbus_runtime.webhooks.deliveries import TEST_TYPE, Telling

        webhook, event_id = await _known(documents, webhook_id), str(uuid4())
        event = Event[Payload](
            id=event_id,
            source="radbus/cli",
            type=TEST_TYPE,
            subject=webhook.id,
            institution=webhook.institution,
            data=Payload(),
        )
        telling = Telling(event_id=event_id, type=event.type, body=event.model_dump_json(), traceparent=None)
        kept = _deliveries(documents)
        delivery_id = await kept.open(webhook, telling, give_up_s=0)
        return await _ended(lambda: kept.get(delivery_id))

    found = in_database(work)
    if found["state"] != "delivered":
        raise TestFailedError(f"the receiver did not take it: {found['reason'] or 'no results service has called it'}")
    typer.echo(f"{webhook_id} has taken a test")


@app.command()
def deliveries(
    *,
    webhook: OfWebhook = None,
    state: Annotated[str | None, typer.Option(help="Only those that are waiting, delivered or failed.")] = None,
    newer_than: NewerThan = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """List what was told, what waits, and what was given up; it is kept for 30 days."""
    where = _where(webhook, newer_than)
    if state is not None:
        if state not in _STATES:
            raise typer.BadParameter(f"expected one of {', '.join(_STATES)}", param_hint="--state")
        where["state"] = state
    shown = [
        {
            "webhook": each["webhook_id"],
            "event": each["event_id"],
            "type": each["type"],
            "study": each["study_instance_uid"],
            "state": each["state"],
            "tries": str(each["attempts"]),
            "reason": each["reason"],
            "asked": each["asked_at"],
            "next_try": each["try_at"] if each["state"] == "waiting" else None,
        }
        for each in in_database(lambda documents: _deliveries(documents).list(where, limit=limit))
    ]
    print_records(shown, as_json=as_json)


@app.command()
def retry(
    event: Annotated[str | None, typer.Argument(help="The event, as `deliveries` shows it.")] = None,
    *,
    webhook: OfWebhook = None,
    newer_than: NewerThan = None,
    days: Annotated[float, typer.Option(help="For how long to try again.", min=0.01, max=30)] = 3,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Tell again what was given up; more than one event needs --yes."""
    if event is None and not yes:
        raise NotSureError("every delivery that failed is meant: look at them with `deliveries`, then add --yes")
    where = _where(webhook, newer_than)
    if event is not None:
        where["event_id"] = event
    count = in_database(lambda documents: _deliveries(documents).try_again(where, give_up_s=days * _DAY_S))
    if as_json:
        print_json({"tried_again": count})
    else:
        typer.echo(f"{count} are tried again")


def _where(webhook: str | None, newer_than: timedelta | None) -> Document:
    where: Document = {}
    if webhook is not None:
        where["webhook_id"] = webhook
    if newer_than is not None:
        where["asked_at"] = {"$gte": datetime.now(UTC) - newer_than}
    return where


def _deliveries(documents: Documents) -> Deliveries:
    from radbus_runtime.webhooks.deliveries import Deliveries

    return Deliveries(documents)


async def _known(documents: Documents, webhook_id: str) -> Webhook:
    from radbus_runtime.webhooks.subscriptions import WebhookError, Webhooks

    webhook = await Webhooks(documents).get(webhook_id)
    if webhook is None:
        raise WebhookError(f"expected the id of a webhook, there is none {webhook_id!r}")
    return webhook


async def _ended(read: Callable[[], Awaitable[Document | None]]) -> Document:
    """Wait until a delivery has ended, and give it as it is then."""
    deadline = asyncio.get_running_loop().time() + _TEST_WITHIN_S
    while True:
        found = await read()
        if found is None:
            raise TestFailedError("the delivery is gone: somebody erased it")
        if found["state"] != "waiting" or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.2)


def _keys() -> WebhookKeys:
    from radbus_runtime.webhooks.signing import WebhookKeys

    key = Target().stack.environment().get("RADBUS_WEBHOOK_KEY", "")
    if len(key) < 16:
        raise NoKeyError(
            "RADBUS_WEBHOOK_KEY: expected the secret of 16 characters or more that the results service has"
        )
    return WebhookKeys(key.encode())
