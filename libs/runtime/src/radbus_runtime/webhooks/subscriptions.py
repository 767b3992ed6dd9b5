"""`webhooks`: whom an institution wants to be told by HTTP, and of what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from radbus_contracts.errors import PermanentError
from radbus_contracts.facts import TriageStatus
from radbus_contracts.topology import WEBHOOK_FACTS
from radbus_storage import records
from radbus_storage.documents import Document, Documents, Index

WEBHOOK_INDEXES: Final = (Index((("institution", 1), ("created_at", 1))),)
WEBHOOK_TYPES: Final = tuple(fact.type for fact in WEBHOOK_FACTS)
WEBHOOKS_LIMIT: Final = 50
"""Of one institution: every event is compared with each of them."""
_URL_LIMIT: Final = 2048


class WebhookError(PermanentError):
    """Not a webhook that can be registered, or none that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver; whatever is empty or None chooses nothing out."""

    id: str
    institution: str
    url: str
    types: tuple[str, ...] = ()
    use_cases: tuple[str, ...] = ()
    triage: TriageStatus | None = None
    created_at: datetime

    def wants(self, event_type: str, *, use_case: str | None, triage: TriageStatus | None) -> bool:
        """Say whether an event is for this receiver; what it does not have, it cannot be chosen by."""
        return (
            event_type in (self.types or WEBHOOK_TYPES)
            and (not self.use_cases or use_case in self.use_cases)
            and (self.triage is None or triage is self.triage)
        )


class Webhooks:
    """The receivers of all institutions."""

    def __init__(self, documents: Documents) -> None:
        self.collection = documents[records.WEBHOOKS]

    async def add(
        self,
        institution: str,
        url: str,
        *,
        types: tuple[str, ...] = (),
        use_cases: tuple[str, ...] = (),
        triage: TriageStatus | None = None,
    ) -> Webhook:
        """Register a receiver.

        Raises:
            WebhookError: It cannot be one; the text says what was expected.
        """
        check_url(url)
        if unknown := set(types) - set(WEBHOOK_TYPES):
            raise WebhookError(f"expected events of {', '.join(WEBHOOK_TYPES)}; not {', '.join(sorted(unknown))}")
        if await self.collection.count({"institution": institution}, limit=WEBHOOKS_LIMIT) >= WEBHOOKS_LIMIT:
            raise WebhookError(f"an institution may have {WEBHOOKS_LIMIT} webhooks: remove one first")
        webhook = Webhook(
            id=uuid4().hex,
            institution=institution,
            url=url,
            types=types,
            use_cases=use_cases,
            triage=triage,
            created_at=datetime.now(UTC),
        )
        await self.collection.insert(_document(webhook))
        return webhook

    async def get(self, webhook_id: str) -> Webhook | None:
        """Read one."""
        found = await self.collection.find_one({"_id": webhook_id})
        return None if found is None else _webhook(found)

    async def list(self, institution: str | None = None) -> list[Webhook]:
        """Read those of an institution, or all, oldest first."""
        where = {} if institution is None else {"institution": institution}
        found = await self.collection.find(where, limit=10_000, sort=(("institution", 1), ("created_at", 1)))
        return [_webhook(each) for each in found]

    async def remove(self, webhook_id: str) -> None:
        """Tell a receiver nothing more.

        Raises:
            WebhookError: There is none.
        """
        if not await self.collection.delete({"_id": webhook_id}):
            raise WebhookError(f"expected the id of a webhook, there is none {webhook_id!r}")


def check_url(url: str) -> None:
    """Raise a `WebhookError` if no receiver can be at an address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise WebhookError("expected an address of a receiver, as https://host/path") from error
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or not url.isprintable():
        raise WebhookError("expected an address of a receiver, as https://host/path, in ASCII")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise WebhookError("expected an address without user, password and fragment: the receiver checks the signature")
    if len(url) > _URL_LIMIT:
        raise WebhookError(f"expected an address of at most {_URL_LIMIT} characters")


def _document(webhook: Webhook) -> Document:
    return {
        "_id": webhook.id,
        "institution": webhook.institution,
        "url": webhook.url,
        "types": list(webhook.types),
        "use_cases": list(webhook.use_cases),
        "triage": webhook.triage.value if webhook.triage else None,
        "created_at": webhook.created_at,
    }


def _webhook(found: Document) -> Webhook:
    return Webhook(
        id=found["_id"],
        institution=found["institution"],
        url=found["url"],
        types=tuple(found["types"]),
        use_cases=tuple(found["use_cases"]),
        triage=TriageStatus(found["triage"]) if found["triage"] else None,
        created_at=found["created_at"],
    )
