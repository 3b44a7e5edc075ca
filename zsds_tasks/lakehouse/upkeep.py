"""Upkeep of one table: fewer, larger files; pixels that are not too full; no files that no version needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zsds_tasks.lakehouse import delta, layout
from zsds_tasks.lakehouse.changes import Plan
from zsds_tasks.lakehouse.transactions import Commit, apply_plans
from zsds_tasks.products.tables import INDEX_COLUMN

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.snapshot import DataFile, Snapshot
    from zsds_tasks.products.tables import TableDeclaration

_FULL_FILE = 1_000_000
"""Rows at which a file of a table without pixels is left alone."""


def compact(location: delta.Location) -> Commit:
    """Give each pixel of a table one file; in a table without pixels, gather small files.

    Parameters
    ----------
    location : Location

    Returns
    -------
    Commit
        With version None if there was nothing to gather. No row changes.
    """
    return apply_plans(
        location,
        "compact",
        lambda snapshot: plan_compaction(snapshot, location.declaration),
        data_change=False,
    )


def plan_compaction(snapshot: Snapshot, declaration: TableDeclaration) -> Plan:
    """Plan `compact` for a snapshot."""
    plan = Plan()
    groups: list[list[DataFile]] = list(snapshot.pixels().values())
    if not declaration.healpix:
        groups = _batches([file for file in snapshot.files if file.rows < _FULL_FILE])
    for files in groups:
        if len(files) > 1:
            plan.removed.extend(files)
            plan.written.append((files[0].pixel, layout.sorted_rows(snapshot.load(files), declaration.key)))
    return plan


def _batches(files: list[DataFile]) -> list[list[DataFile]]:
    """Group files so that a group holds about `_FULL_FILE` rows."""
    groups: list[list[DataFile]] = []
    rows = _FULL_FILE
    for file in files:
        if rows + file.rows > _FULL_FILE:
            groups.append([])
            rows = 0
        groups[-1].append(file)
        rows += file.rows
    return groups


def repartition(location: delta.Location) -> Commit:
    """Split pixels with more rows than the declaration allows into finer ones, in one commit.

    Parameters
    ----------
    location : Location

    Returns
    -------
    Commit
        With version None if no pixel is too full. No row changes.
    """
    return apply_plans(
        location,
        "repartition",
        lambda snapshot: plan_repartition(snapshot, location.declaration),
        data_change=False,
    )


def plan_repartition(snapshot: Snapshot, declaration: TableDeclaration) -> Plan:
    """Plan `repartition` for a snapshot."""
    plan = Plan()
    partition = declaration.healpix
    if partition is None:
        return plan
    for pixel, files in snapshot.pixels().items():
        total = sum(file.rows for file in files)
        if total <= partition.max_rows or pixel.order >= layout.FINEST_ORDER:
            continue
        rows = layout.sorted_rows(snapshot.load(files), declaration.key)
        index = rows.column(INDEX_COLUMN).to_numpy()
        plan.removed.extend(files)
        for part in layout.split(index, pixel, partition.max_rows):
            low, high = index.searchsorted([part.first, part.end])
            plan.written.append((part, rows.slice(low, high - low)))
    return plan


def vacuum(location: delta.Location, retention_hours: float) -> list[str]:
    """Delete files that no version younger than a retention needs, those of crashed writers included.

    Publications are not touched: they hold links or copies of their own.

    Parameters
    ----------
    location : Location
    retention_hours : float
        Time travel reaches back this far. Must exceed the longest write: a file not yet committed is taken
        for a crashed writer's once it is older.

    Returns
    -------
    list of str
        Files deleted, relative to the table.
    """
    table = delta.open_delta(location)
    if table is None:
        return []
    with delta.translated_delta(location.uri):
        deleted: list[str] = table.vacuum(
            retention_hours=math.ceil(retention_hours),  # whole hours only: rather more than asked for
            dry_run=False,
            enforce_retention_duration=False,
            full=True,
        )
    return deleted
