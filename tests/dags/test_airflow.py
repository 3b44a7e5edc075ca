"""Laws of the timetable, outcomes and trigger, run inside a real Airflow in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAWS = Path(__file__).with_name("airflow_laws.py")


@pytest.mark.timeout(90)
def test_laws_of_timetable_outcomes_and_trigger(airflow_environment):
    done = subprocess.run(
        [sys.executable, str(LAWS)],
        env=airflow_environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "all laws hold" in done.stdout
