"""The lock pins everything by hash and names no address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "deploy").glob("*/*-requirements.lock"))]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_with_its_hashes_and_no_address_is_named(lock):
    text = lock.read_text()
    packages = re.findall(r"^[a-z0-9][\w.\-\[\],]*==.*(?:\n .*)*", text, re.MULTILINE)

    assert packages
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
