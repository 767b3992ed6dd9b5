"""The audit trail is append-only by the face that the database gives of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from radbus_storage import records
from radbus_storage.documents import Documents
from radbus_storage.settings import DocumentSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def documents() -> Documents:
    return Documents(DocumentSettings(url=SecretStr("mongodb://127.0.0.1:1/"), database="radbus"))


def test_events_can_be_added_and_read_and_nothing_else(documents):
    offered = {name for name in dir(documents.audit) if not name.startswith("_")}

    assert offered == {"name", "find_one", "find", "insert", "insert_many", "count", "distinct", "ensure_indexes"}


def test_the_collection_of_events_is_not_given_as_one_that_may_be_changed(documents):
    with pytest.raises(LookupError, match="the audit trail is"):
        documents[records.AUDIT]


def test_only_the_copying_of_backups_reaches_past_the_faces_of_collections():
    modules = [path for folder in ("libs", "services", "cli") for path in (ROOT / folder).rglob("src/**/*.py")]
    past = {path.name for path in modules if ".raw(name)" in path.read_text() or "._database" in path.read_text()}

    assert past == {"documents.py", "copying.py"}
