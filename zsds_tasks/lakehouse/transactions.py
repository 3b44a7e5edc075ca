"""Carry out a planned change: write files, commit them as the next version, plan anew after a lost race."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse import delta, evolution
from zsds_tasks.lakehouse.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from deltalake import DeltaTable

    from zsds_tasks.lakehouse.changes import Plan

_PATIENCE_S = 120.0
"""How long a writer goes on after losing races for the next version."""
_TURN_PATIENCE_S = 30.0
_PARALLEL_WRITES = 4


@dataclass(frozen=True)
class Commit:
    """What a change did to a table."""

    version: int | None
    """The new version; None if the table was already as wanted and no version was made."""
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def apply_plans(
    location: delta.Location,
    operation: str,
    planned: Callable[[Snapshot], Plan],
    *,
    data_change: bool = True,
) -> Commit:
    """Plan a change on the newest version and commit it, again and again until no one is faster.

    Parameters
    ----------
    location : Location
        Of the table.
    operation : str
        For the history.
    planned : callable
        Gives the plan for a snapshot; called anew after each lost race.
    data_change : bool
        False when the same rows are only laid out anew.

    Returns
    -------
    Commit

    Raises
    ------
    TransientError
        If other writers were faster for two minutes.
    """
    deadline = time.monotonic() + _PATIENCE_S
    lost = 0
    while True:
        try:
            # A turn keeps writers from wasting work on lost races; what keeps them right is the commit.
            with location.storage.turn(location.declaration.table, _TURN_PATIENCE_S):
                return _attempt(location, operation, planned, data_change=data_change)
        except (delta.OvertakenError, FileNotFoundError) as error:
            # FileNotFoundError: a file of our snapshot was vacuumed after someone replaced it.
            lost += 1
            if time.monotonic() > deadline:
                raise TransientError(
                    f"lost {lost} races for the next version",
                    subject=location.uri,
                    remedy="let fewer processes write this table at once; the work is retried",
                ) from error
            time.sleep(random.uniform(0.0, min(0.02 * 2**lost, 1.0)))  # noqa: S311 - spreads writers


def _attempt(
    location: delta.Location, operation: str, planned: Callable[[Snapshot], Plan], *, data_change: bool
) -> Commit:
    table = _open_to_write(location)
    plan = planned(Snapshot(location, table))
    if plan.changes_nothing:
        return Commit(None)
    version = _carry_out(location, table, plan, operation, data_change=data_change)
    return Commit(version, plan.inserted, plan.updated, plan.deleted)


def _carry_out(
    location: delta.Location,
    table: DeltaTable,
    plan: Plan,
    operation: str,
    *,
    data_change: bool,
) -> int:
    with ThreadPoolExecutor(_PARALLEL_WRITES) as pool:
        tasks = [
            pool.submit(delta.write_file, location, f"part-{uuid4().hex}.parquet", rows, pixel)
            for pixel, rows in plan.written
        ]
    written = [task.result() for task in tasks]
    facts = {
        "operation": operation,
        "inserted": plan.inserted,
        "updated": plan.updated,
        "deleted": plan.deleted,
    }
    try:
        version = delta.commit(
            table, location.declaration, written, plan.removed, facts=facts, data_change=data_change
        )
    except delta.OvertakenError:
        # An object store that was asked twice, because its first answer got lost, refuses our own commit.
        version = int(table.version()) + 1
        if not _names(location, version, written):
            for file in written:
                location.storage.delete(f"{location.folder}/{file.path}")
            raise
    location.storage.make_durable(delta.log_file(location, version))
    return version


def _names(location: delta.Location, version: int, written: list[delta.WrittenFile]) -> bool:
    """Say whether a version holds these files: then it is ours, since no one else knows their names."""
    table = delta.open_delta(location, version=version)
    live = {file.path for file in Snapshot(location, table).files} if table else set()
    return any(file.path in live for file in written)


def _open_to_write(location: delta.Location) -> DeltaTable:
    table = delta.open_delta(location)
    if table is None:
        delta.create_delta(location)
        table = delta.open_delta(location)
        if table is None:
            raise TransientError(
                "the table is not there right after its creation",
                subject=location.uri,
                remedy="look at the storage; the work is retried",
            )
    gained = evolution.reconcile(table, location.declaration)
    if gained:
        evolution.add_columns(table, gained)
        return _open_to_write(location)
    return table
