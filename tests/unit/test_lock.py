"""The lock pins everything by hash, names no address, and has no release that is known to fail us."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

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


PINNED = {
    lock.name: {
        name: Version(text) for name, text in re.findall(r"^([a-z0-9][\w.\-]*)==([^ ]+)", lock.read_text(), re.M)
    }
    for lock in LOCKS
}
SERVICES, TRITON = PINNED["requirements.lock"], PINNED["triton-requirements.lock"]


def test_dicom_is_read_by_a_pydicom_without_its_known_hole():
    assert SERVICES["pydicom"] >= Version("3.0.2")  # CVE-2026-32711


def test_the_bus_is_used_through_an_aio_pika_whose_failures_were_tried():
    assert Version("10.2.1") <= SERVICES["aio-pika"] < Version("11")


def test_triton_has_a_numpy_with_which_its_outputs_have_bytes():
    assert TRITON["numpy"] < Version("2")


def test_what_is_gpl_or_no_longer_kept_is_not_in_the_default_install():
    assert not {"pylibjpeg-libjpeg", "rt-utils", "pydicom-seg"} & SERVICES.keys()
