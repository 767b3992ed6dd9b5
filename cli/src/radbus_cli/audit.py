"""`radbus audit`: everything that happened to a study, series, instance, job, inference or run, and where it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from radbus_cli.console import Json, console, errors, print_json, printable
from radbus_cli.database import with_documents
from radbus_cli.target import Target

if TYPE_CHECKING:
    from radbus_storage.documents import Documents
    from radbus_storage.objects import ObjectStore

    from radbus_cli.audit_entries import Entry
    from radbus_cli.audit_findings import Finding
    from radbus_cli.audit_subjects import Subject


@dataclass(frozen=True, slots=True)
class Audit:
    """What happened to one institution's study or part of it, and what is missing or wrong."""

    subject: Subject
    entries: list[Entry]
    findings: list[Finding]

    def document(self, limit: int) -> dict[str, Any]:
        """Return it for JSON, with the newest entries."""
        return {
            "institution": self.subject.institution,
            "kind": self.subject.kind.value,
            "uid": self.subject.uid,
            "entries": [each.document() for each in self.entries[-limit:]],
            "not_shown": max(0, len(self.entries) - limit),
            "findings": [each.document() for each in self.findings],
        }


def audit(
    uid: Annotated[str, typer.Argument(help="Of a study, series, instance, job, inference or run.")],
    *,
    institution: Annotated[str | None, typer.Option(help="Only this institution's.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many lines, the newest.", min=1, max=100_000)] = 1000,
    as_json: Json = False,
) -> None:
    """Tell everything that happened to something, in order of time, and what is missing or wrong; in UTC."""
    audits = asyncio.run(audit_in(Target().stack.environment(), uid, institution=institution))
    if as_json:
        print_json({"audits": [each.document(limit) for each in audits]})
        return
    for each in audits:
        _show(each, limit)


async def audit_in(environment: Mapping[str, str], uid: str, *, institution: str | None = None) -> list[Audit]:
    """Audit what each institution of a deployment has by a UID or id.

    Raises:
        NothingFoundError: None has anything.
    """
    from radbus_storage.objects import ObjectStore

    objects = ObjectStore(object_settings(environment))
    try:
        return await with_documents(
            environment, lambda documents: _audits(documents, objects, environment, uid, institution)
        )
    finally:
        objects.close()


async def _audits(
    documents: Documents, objects: ObjectStore, environment: Mapping[str, str], uid: str, institution: str | None
) -> list[Audit]:
    from radbus_runtime.audit.codes import READ_TRAIL, ObjectKind
    from radbus_runtime.audit.operators import recorded

    from radbus_cli.audit_entries import entries_of
    from radbus_cli.audit_findings import findings_of
    from radbus_cli.audit_records import gather
    from radbus_cli.audit_stores import Around, look_at_bus, look_into_store
    from radbus_cli.audit_subjects import find
    from radbus_cli.dead_queues import queue_names

    names = queue_names(Path(environment["RADBUS_MACHINES_DIR"]))
    audits: list[Audit] = []
    for subject in await find(documents, uid, institution=institution):
        about = (ObjectKind(subject.kind.value), subject.uid)
        # Before anything of it is shown, and after it was read, so that it does not tell of itself.
        async with recorded(documents, READ_TRAIL, about, institution=subject.institution):
            read, around = await gather(documents, subject), Around()
            await look_into_store(documents, objects, read, around)
            await look_at_bus(environment["RADBUS_AMQP_URL"], names, read, around)
        audits.append(Audit(subject, entries_of(read, around), findings_of(read, around)))
    return audits


def object_settings(environment: Mapping[str, str]) -> Any:
    """Read where the object store is."""
    from pydantic import SecretStr
    from radbus_storage.settings import ObjectSettings

    return ObjectSettings(
        url=environment["RADBUS_S3_URL"],
        public_url=environment["RADBUS_S3_PUBLIC_URL"],
        access_key=SecretStr(environment["RADBUS_S3_ACCESS_KEY"]),
        secret_key=SecretStr(environment["RADBUS_S3_SECRET_KEY"]),
        bucket=environment["RADBUS_S3_BUCKET"],
    )


def _show(found: Audit, limit: int) -> None:
    subject = found.subject
    console.print(
        f"[bold]{subject.kind.value} {escape(subject.uid)} of {escape(subject.institution)}[/]", soft_wrap=True
    )
    if len(found.entries) > limit:
        errors.print(f"{len(found.entries) - limit} earlier lines are not shown; raise --limit")
    for entry in found.entries[-limit:]:
        time = (
            f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}" if entry.at else "at an unknown time     "
        )
        mark = "[red]![/]" if entry.gap else " "
        ids = " ".join(f"{name}={value}" for name, value in entry.ids.items())
        line = f"{time} {mark} {escape(f'{entry.service:10}')} {escape(printable(entry.what))}  [dim]{escape(ids)}[/]"
        console.print(line, soft_wrap=True, highlight=False)
    if not found.findings:
        console.print("[green]nothing is missing or wrong[/]")
    for finding in found.findings:
        console.print(f"[red]-[/] {escape(printable(finding.text))}", soft_wrap=True, highlight=False)
        if finding.advice:
            console.print(f"  [bold]{escape(printable(finding.advice))}[/]", soft_wrap=True, highlight=False)
