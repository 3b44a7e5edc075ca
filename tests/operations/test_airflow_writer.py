from __future__ import annotations

import os
import sqlite3
import threading

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from zsds_tasks.operations.airflow_cli import run_airflow
from zsds_tasks.operations.airflow_writer import begin_as_writer


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE runs (run TEXT)")
    return path


def read_then_write(engine, meanwhile):
    """What `backfill create` does: read, then, after somebody else may have written, write in a savepoint."""
    with engine.begin() as connection:
        connection.execute(text("SELECT count(*) FROM runs")).scalar_one()
        meanwhile()
        with connection.begin_nested():
            connection.execute(text("INSERT INTO runs VALUES ('ours')"))


def write_as_another(database, timeout_s):
    other = sqlite3.connect(database, timeout=timeout_s)
    try:
        with other:
            other.execute("INSERT INTO runs VALUES ('theirs')")
    finally:
        other.close()


def rows(database):
    connection = sqlite3.connect(database)
    try:
        return sorted(row for (row,) in connection.execute("SELECT run FROM runs"))
    finally:
        connection.close()


def test_sqlite_refuses_who_read_before_another_wrote(database):
    """The trouble itself: without it this module would have no reason."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.execute(text("SELECT count(*) FROM runs")).scalar_one()
        write_as_another(database, 5)
        with pytest.raises(OperationalError, match="database is locked"):
            connection.execute(text("INSERT INTO runs VALUES ('ours')"))
    engine.dispose()


def test_a_writer_from_the_start_is_not_refused_and_the_other_waits(database):
    engine = create_engine(f"sqlite:///{database}")
    begin_as_writer(engine)
    other = threading.Thread(target=write_as_another, args=(database, 20))
    read_then_write(engine, meanwhile=other.start)
    other.join()
    engine.dispose()
    assert rows(database) == ["ours", "theirs"]


def test_a_failure_rolls_back_whole(database):
    engine = create_engine(f"sqlite:///{database}")
    begin_as_writer(engine)

    def insert_and_fail():
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO runs VALUES ('lost')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        insert_and_fail()
    engine.dispose()
    assert rows(database) == []


def test_words_and_exit_code_go_through(tmp_path):
    """A package named airflow, found first, that answers with what it was asked."""
    package = tmp_path / "airflow"
    package.mkdir()
    (package / "__init__.py").touch()
    said = tmp_path / "said"
    (package / "__main__.py").write_text(
        f"import pathlib, sys\npathlib.Path({str(said)!r}).write_text(' '.join(sys.argv[1:]))\nsys.exit(3)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    assert run_airflow(["backfill", "create"], environment) == 3
    assert said.read_text() == "backfill create"
