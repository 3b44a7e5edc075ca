"""DAG files are parsed in a process of their own: importing Airflow here would slow every other test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zsds_tasks.settings import REPOSITORY

PARSE = Path(__file__).with_name("parse_dags.py")


@pytest.fixture(scope="session")
def airflow_environment(tmp_path_factory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("airflow")
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("ZSDS_", "AIRFLOW_"))}
    return keep | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "ZSDS_VAR": str(home / "var"),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}",
    }


@pytest.fixture(scope="session")
def parsed(airflow_environment) -> dict[str, object]:
    """What a fresh process found: modules added, DAGs, tasks, timetable, per file."""
    done = subprocess.run(
        [sys.executable, str(PARSE), str(REPOSITORY / "dags")],
        env=airflow_environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
