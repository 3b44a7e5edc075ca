"""Airflow's own command line in the environment of an installation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

PROGRAM = "zsds_tasks.operations.airflow_writer"


def run_airflow(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``airflow <words>``; return its exit code.

    Parameters
    ----------
    words : sequence of str
        What follows ``airflow``.
    environment : mapping
        The installation's.
    """
    command = [sys.executable, "-m", PROGRAM, *words]
    return subprocess.run(command, env=dict(environment), check=False).returncode
