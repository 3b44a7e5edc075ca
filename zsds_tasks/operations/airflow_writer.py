"""Airflow's command line as a writer that waits its turn on SQLite.

SQLite refuses at once, whatever the time-out, a transaction that has read and then wants to write if another
process wrote in between. ``airflow backfill create`` does just that beside a busy scheduler, and a refusal in
its middle leaves a backfill without runs which blocks the next: Airflow commits the backfill before its runs.
A transaction that begins as a writer (``BEGIN IMMEDIATE``) waits for its turn instead, and then cannot be
refused. Other databases are left as they are.

Run as ``python -m zsds_tasks.operations.airflow_writer <words>``.
"""

from __future__ import annotations

import runpy
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

PATIENCE_S = 120
SQLITE = "sqlite"


def begin_as_writer(engine: type[Engine] | Engine) -> None:
    """Let every SQLite transaction of an engine (or of all engines: the class) begin as a writer.

    Source: SQLAlchemy 2 documentation, SQLite dialect, "Transactions with SQLite and the sqlite3 driver".
    """
    event.listen(engine, "connect", _take_over_transactions)
    event.listen(engine, "begin", _begin_immediately)


def _take_over_transactions(connection: Any, _record: object) -> None:
    """Keep the driver from beginning transactions of its own; wait long for the lock."""
    driver = type(connection).__module__
    if not driver.startswith(SQLITE):
        return
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {PATIENCE_S * 1000}")


def _begin_immediately(connection: Connection) -> None:
    if connection.dialect.name == SQLITE:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def main() -> None:
    """Run ``airflow`` with the words of this process's command line."""
    begin_as_writer(Engine)
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
