"""How a receiver knows that a call is radbus's own: Standard Webhooks 1.0, symmetric signatures.

A webhook's secret is made from the key of the site and the webhook's id, and kept nowhere: who reads the database can
sign nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

_PURPOSE: Final = "radbus webhook"  # the site's key may serve other ends: no two of them sign the same text


@dataclass(frozen=True, slots=True)
class WebhookKeys:
    """Makes the secrets of webhooks, and signs with them."""

    key: bytes = field(repr=False)

    def secret_of(self, webhook_id: str) -> str:
        """Return a webhook's secret, as its receiver is given it: `whsec_` and 32 bytes in base64."""
        made = hmac.new(self.key, f"{_PURPOSE}\0{webhook_id}".encode(), hashlib.sha256).digest()
        return f"whsec_{base64.b64encode(made).decode()}"

    def headers(self, webhook_id: str, message_id: str, at: datetime, body: str) -> dict[str, str]:
        """Return the three headers of a call; `at` is the time of this try, in UTC."""
        at = at.astimezone(UTC)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(self.secret_of(webhook_id)).sign(message_id, at, body),
        }
