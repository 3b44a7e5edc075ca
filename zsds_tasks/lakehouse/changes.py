"""From rows that come in to files that go and files that come: upserts worked out by copy-on-write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.lakehouse import layout
from zsds_tasks.lakehouse.identity import row_codes, same_content
from zsds_tasks.lakehouse.predicates import Condition, mask_of
from zsds_tasks.products.tables import INDEX_COLUMN, TableDeclaration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zsds_tasks.lakehouse.snapshot import DataFile, Snapshot
    from zsds_tasks.sky.healpix import Pixel

ABSORB_CEILING = 200_000
"""Rows beyond which small files of a pixel are left to `compact`."""

_ROWS_AT_ONCE = 1_000_000
"""Old rows held in memory while they are compared."""


@dataclass
class Plan:
    """What one commit shall do."""

    removed: list[DataFile] = field(default_factory=list)
    written: list[tuple[Pixel | None, pa.Table]] = field(default_factory=list)
    """New files, their rows sorted."""
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def changes_nothing(self) -> bool:
        """Whether the table is already as wanted."""
        return not (self.removed or self.written)


@dataclass
class _Fate:
    """What is known of each incoming row while old files are gone through."""

    present: NDArray[np.bool_]
    """It is there already, with the same content."""
    replaces: NDArray[np.bool_]
    """There is a row of the same key."""

    @classmethod
    def of(cls, incoming: pa.Table) -> _Fate:
        return cls(np.zeros(incoming.num_rows, dtype=bool), np.zeros(incoming.num_rows, dtype=bool))


def plan_change(
    snapshot: Snapshot,
    incoming: pa.Table,
    declaration: TableDeclaration,
    conditions: tuple[Condition, ...] | None,
) -> Plan:
    """Work out how a table must change to hold rows, and no others under their keys or conditions.

    Parameters
    ----------
    snapshot : Snapshot
        The table as it is.
    incoming : pyarrow.Table
        Rows as stored (with the spatial index), keys distinct.
    declaration : TableDeclaration
    conditions : tuple of Condition, optional
        Every old row that meets them goes, unless it comes in again. None: only rows of the same key go.

    Returns
    -------
    Plan
        Rows that are there already with the same content stay where they are.
    """
    plan = Plan()
    fate = _Fate.of(incoming)
    survivors: dict[Pixel | None, list[pa.Table]] = {}
    for files in _batches(_files_in_question(snapshot, incoming, declaration, conditions)):
        parts = [snapshot.load([file]) for file in files]
        going = _going(pa.concat_tables(parts), incoming, declaration.key, conditions, fate)
        bounds = np.cumsum([part.num_rows for part in parts])[:-1]
        for file, part, leaving in zip(files, parts, np.split(going, bounds), strict=True):
            if leaving.any():
                plan.removed.append(file)
                plan.deleted += int(leaving.sum())
                survivors.setdefault(file.pixel, []).append(part.filter(pa.array(~leaving)))
    fresh = incoming.filter(pa.array(~fate.present))
    plan.updated = int((fate.replaces & ~fate.present).sum())
    plan.inserted = fresh.num_rows - plan.updated
    plan.deleted -= plan.updated
    _place(plan, snapshot, fresh, survivors, declaration)
    return plan


def _batches(files: list[DataFile]) -> Iterator[list[DataFile]]:
    """Group files to be compared at once: comparing one by one would look at all new rows every time."""
    batch: list[DataFile] = []
    for file in files:
        if batch and sum(one.rows for one in batch) + file.rows > _ROWS_AT_ONCE:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _files_in_question(
    snapshot: Snapshot,
    incoming: pa.Table,
    declaration: TableDeclaration,
    conditions: tuple[Condition, ...] | None,
) -> list[DataFile]:
    """Return files that hold a row of the same key, or one that may meet the conditions."""
    chosen: dict[str, DataFile] = {}
    if conditions is not None:
        chosen.update({file.path: file for file in snapshot.files_that_may_match(conditions)})
    if incoming.num_rows:
        bounds = _key_bounds(incoming, declaration)
        others = [file for file in snapshot.files_that_may_match(bounds) if file.path not in chosen]
        # Keys first: most files whose key range overlaps hold none of the keys themselves.
        keys, numbers = snapshot.load_keys(others, list(declaration.key), bounds)
        ours, theirs = row_codes([incoming, keys], declaration.key)
        for number in np.unique(numbers[np.isin(theirs, ours)]):
            chosen[others[number].path] = others[number]
    return list(chosen.values())


def _key_bounds(incoming: pa.Table, declaration: TableDeclaration) -> tuple[Condition, ...]:
    """Return for each key column the values between which incoming rows lie."""
    bounds = []
    for name in declaration.key:
        column = incoming.column(name)
        if pa.types.is_boolean(column.type):
            continue
        low, high = pc.min_max(column).values()
        bounds.append(Condition(name, "between", (low, high)))
    return tuple(bounds)


def _going(
    rows: pa.Table,
    incoming: pa.Table,
    key: Sequence[str],
    conditions: tuple[Condition, ...] | None,
    fate: _Fate,
) -> NDArray[np.bool_]:
    """Say which old rows of a file go; note which incoming rows are there already or have a predecessor."""
    theirs, ours = row_codes([rows, incoming], key)
    going = np.zeros(rows.num_rows, dtype=bool)
    if conditions is not None:
        going |= mask_of(conditions, rows)
    by_code = np.full(max(theirs.max(initial=-1), ours.max(initial=-1)) + 1, -1)
    by_code[ours] = np.arange(len(ours))
    partner = by_code[theirs]
    paired = np.flatnonzero(partner >= 0)
    going[paired] = True
    fate.replaces[partner[paired]] = True
    same = same_content(rows.take(pa.array(paired)), incoming.take(pa.array(partner[paired])))
    staying = paired[same]
    going[staying] = False
    fate.present[partner[staying]] = True
    return going


def _place(
    plan: Plan,
    snapshot: Snapshot,
    fresh: pa.Table,
    survivors: dict[Pixel | None, list[pa.Table]],
    declaration: TableDeclaration,
) -> None:
    """Distribute new rows over pixels and gather each pixel's rows into one new file."""
    gone = {file.path for file in plan.removed}
    files: dict[Pixel | None, list[DataFile]] = {}
    for file in snapshot.files:
        files.setdefault(file.pixel, []).append(file)
    pools = dict(survivors)
    partition = declaration.healpix
    if fresh.num_rows and partition:
        index = fresh.column(INDEX_COLUMN).to_numpy()
        existing = [pixel for pixel in files if pixel is not None]
        for home, numbers in layout.assign(index, existing, partition.order):
            pools.setdefault(home, []).append(fresh.take(pa.array(numbers)))
    elif fresh.num_rows:
        pools.setdefault(None, []).append(fresh)
    for pixel, parts in pools.items():
        rows = sum(part.num_rows for part in parts)
        if rows == 0:
            continue
        others = [file for file in files.get(pixel, []) if file.path not in gone]
        joining = [others[n] for n in layout.absorbed([file.rows for file in others], rows, ABSORB_CEILING)]
        plan.removed.extend(joining)
        whole = pa.concat_tables([*parts, snapshot.load(joining)])
        plan.written.append((pixel, layout.sorted_rows(whole, declaration.key)))
