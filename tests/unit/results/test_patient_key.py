"""By what a patient's inferences are found."""

from __future__ import annotations

import pytest
from radbus_runtime.patient_key import PatientKeys

KEYS = PatientKeys(b"a secret of one site")


@pytest.mark.parametrize("padded", [" MRN 7", "MRN 7  ", "MRN 7\0"])
def test_the_padding_of_an_id_says_nothing(padded: str):
    assert KEYS.of("site-a", padded) == KEYS.of("site-a", "MRN 7")


@pytest.mark.parametrize("other", ["MRN7", "mrn 7", "MRN 70"])
def test_another_id_has_another_key(other: str):
    assert KEYS.of("site-a", other) != KEYS.of("site-a", "MRN 7")


def test_the_same_id_has_another_key_at_another_institution_and_under_another_secret():
    keys = {KEYS.of("site-a", "7"), KEYS.of("site-b", "7"), PatientKeys(b"another secret").of("site-a", "7")}

    assert len(keys) == 3


@pytest.mark.parametrize("nobody", ["", "  ", "\0"])
def test_an_empty_id_is_nobodys(nobody: str):
    assert KEYS.of("site-a", nobody) is None


def test_the_secret_is_not_shown():
    assert "secret" not in repr(KEYS)
