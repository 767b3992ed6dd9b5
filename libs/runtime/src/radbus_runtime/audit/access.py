"""The access that is under way: what the authenticator, the handlers and the signing of URLs note of it."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

from radbus_runtime.audit.codes import EXPORT, EventId, Kind, ObjectKind, Outcome
from radbus_runtime.auth.principal import Principal


@dataclass(slots=True)
class Access:
    """What is known of a request so far; without a kind nobody's credentials were looked at."""

    kind: Kind | None = None
    principal: Principal | None = None
    admitted: bool = False  # known, and not asking too often
    outcome: Outcome | None = None  # where the status does not say it
    objects: dict[tuple[ObjectKind, str], None] = field(default_factory=dict)

    def about(self, kind: ObjectKind, uids: Iterable[str]) -> None:
        """Note what was reached: all of it, of which an event then names the first and says how many there were."""
        self.objects.update(dict.fromkeys((kind, uid) for uid in uids))

    def hands_out(self) -> None:
        """Note that data leaves, as bytes or by an address that asks for no credentials: it is an export."""
        if self.kind is None or self.kind.event is not EventId.EXPORT:
            self.kind = EXPORT


# Not an argument: what signs a URL deep below a handler cannot forget it, and no handler need pass it on.
_CURRENT: ContextVar[Access | None] = ContextVar("radbus_access", default=None)


def current_access() -> Access:
    """Return the access of this request; one that nobody reads where there is none."""
    return _CURRENT.get() or Access()


def begin_access() -> Access:
    """Make a new one the access of what runs from here on; each request runs in a task of its own."""
    access = Access()
    _CURRENT.set(access)
    return access
