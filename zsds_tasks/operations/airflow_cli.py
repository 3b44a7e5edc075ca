"""Airflow's own command line in the environment of an installation."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

LOCKED = "database is locked"
ATTEMPTS = 10
PAUSE_S = 1.0


def run_airflow(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``airflow <words>``; return its exit code.

    On SQLite a command that reads before it writes (``backfill create`` does) is refused at once, whatever
    the time-out, if the scheduler wrote in between; Airflow rolls it back whole. So it is run again.

    Parameters
    ----------
    words : sequence of str
        What follows ``airflow``.
    environment : mapping
        The installation's.
    """
    command = [sys.executable, "-m", "airflow", *words]
    for attempt in range(1, ATTEMPTS + 1):
        done = subprocess.run(command, env=dict(environment), stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0 or LOCKED not in done.stderr or attempt == ATTEMPTS:
            break
        sys.stderr.write("Airflow's database was busy; trying again\n")
        time.sleep(PAUSE_S)
    sys.stderr.write(done.stderr)
    return done.returncode
