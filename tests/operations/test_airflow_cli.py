from __future__ import annotations

import os

import pytest

from zsds_tasks.operations import airflow_cli

# A package named airflow that is found first, and fails as SQLite does until its third call.
PROGRAM = """
import pathlib, sys
calls = pathlib.Path(sys.argv[1])
count = len(calls.read_text()) + 1 if calls.exists() else 1
calls.write_text("x" * count)
if count < 3:
    sys.exit("sqlite3.OperationalError: " + sys.argv[2])
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    package = tmp_path / "airflow"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    monkeypatch.setattr(airflow_cli, "PAUSE_S", 0.0)
    calls = tmp_path / "calls"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def call(message: str) -> tuple[int, int]:
        code = airflow_cli.run_airflow([str(calls), message], environment)
        return code, len(calls.read_text())

    return call


def test_a_busy_database_is_tried_again(run, capsys):
    assert run("database is locked") == (0, 3)
    assert capsys.readouterr().err.count("trying again") == 2


def test_other_failures_are_told_at_once(run, capsys):
    assert run("no such table: dag_run") == (1, 1)
    assert "no such table" in capsys.readouterr().err


def test_a_database_that_stays_busy_is_a_failure(run, monkeypatch):
    monkeypatch.setattr(airflow_cli, "ATTEMPTS", 2)
    assert run("database is locked") == (1, 2)
