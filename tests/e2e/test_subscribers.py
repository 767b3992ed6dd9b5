"""A subscriber of ten lines hears of critical findings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from radbus_testing.phantom import chest_phantom

pytestmark = pytest.mark.stack
EXAMPLE = Path(__file__).parents[2] / "examples" / "subscribers" / "critical_findings.py"


def test_the_example_prints_a_critical_finding_and_no_routine_one(hospital, make_series):
    routine = make_series()
    critical = make_series(chest_phantom(slices=40, rows=128, emphysema_fraction=0.4))
    subscriber = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLE)], env=hospital.stack.environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert subscriber.stdout is not None
        first = subscriber.stdout.readline()  # it says that it listens
        hospital.upload(routine.instances)
        assert hospital.result(routine.uid).json()["triage_status"] == "Routine"
        hospital.upload(critical.instances)
        line = subscriber.stdout.readline()
    finally:
        subscriber.terminate()
        subscriber.wait(10)

    assert first
    assert critical.study in line or critical.uid in line
    assert "qct" in line
