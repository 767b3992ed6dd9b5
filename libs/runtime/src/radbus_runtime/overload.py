"""Too much at once: a refusal that says when to come again, in the words of each contract."""

from __future__ import annotations

from radbus_contracts.errors import TransientError


class OverloadedError(TransientError):
    """A replica has as much to do as it may; nothing is wrong with the request, nor with a store."""

    def __init__(self, text: str, *, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
