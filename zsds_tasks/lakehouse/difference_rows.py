"""Which rows differ between two states of a table: file by file skipped, pixel by pixel compared.

Files of the same identity hold the same rows and are not read. The others are gathered into regions that no
row leaves unless it moved on the sky: the coarser pixel where one side is split finer, or a range of the
first key column for tables without pixels. A region is what is held in memory at once, besides the keys of
rows that are in only one of the states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from zsds_tasks.lakehouse.difference_states import StateFile, TableState
from zsds_tasks.lakehouse.identity import row_codes, same_column

ROWS_AT_ONCE = 1_000_000
"""Rows of a region of a table without pixels."""


@dataclass(frozen=True)
class Region:
    """Files of both states whose rows can only have partners among each other."""

    before: tuple[StateFile, ...]
    after: tuple[StateFile, ...]
    where: ds.Expression | None = None


@dataclass(frozen=True)
class RowDifferences:
    """Rows of a region that differ. Rows that are the same in both states do not appear."""

    added: pa.Table
    removed: pa.Table
    before: pa.Table
    """Changed rows as they were."""
    after: pa.Table
    """The same rows, in the same order, as they are."""
    differs: dict[str, NDArray[np.bool_]]
    """For each column of both states, in which of the changed rows it differs."""


def iterate_differences(
    before: TableState, after: TableState, key: Sequence[str], *, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[RowDifferences]:
    """Yield what differs, region by region; rows that moved to another region come last.

    Parameters
    ----------
    before, after : TableState
        Of one table. Rows are compared in the columns that both have.
    key : sequence of str
        Columns of both, in types that may be cast to those of `after`.
    rows_at_once : int
        For tables without pixels.

    Yields
    ------
    RowDifferences
        Added and changed rows in the columns of `after`, removed ones in those of `before`.
    """
    regions = find_regions(before, after, key, rows_at_once)
    moved = _moved_keys(regions, before, after, key)
    left: list[tuple[pa.Table, pa.Table]] = []
    for region in regions:
        old = before.read(region.before, where=region.where)
        new = after.read(region.after, where=region.where)
        if moved.num_rows:
            in_old, in_new = _are_among(moved, old, key), _are_among(moved, new, key)
            left.append((old.filter(pa.array(in_old)), new.filter(pa.array(in_new))))
            old, new = old.filter(pa.array(~in_old)), new.filter(pa.array(~in_new))
        yield compare_rows(old, new, key)
    if left:
        olds, news = zip(*left, strict=True)
        yield compare_rows(pa.concat_tables(olds), pa.concat_tables(news), key)


def compare_rows(old: pa.Table, new: pa.Table, key: Sequence[str]) -> RowDifferences:
    """Compare two tables in memory, whose keys are distinct each."""
    ours, theirs = row_codes([_keys(old, key, new.schema), _keys(new, key, new.schema)], key)
    partner = np.full(max(ours.max(initial=-1), theirs.max(initial=-1)) + 1, -1)
    partner[theirs] = np.arange(len(theirs))
    of_old = partner[ours]
    paired = np.flatnonzero(of_old >= 0)
    alone = np.ones(new.num_rows, dtype=bool)
    alone[of_old[paired]] = False
    before, after = old.take(pa.array(paired)), new.take(pa.array(of_old[paired]))
    shared = [name for name in new.schema.names if name in old.schema.names]
    differs = {name: ~_same(before.column(name), after.column(name)) for name in shared}
    changed = reduce(np.logical_or, differs.values(), np.zeros(len(paired), dtype=bool))
    return RowDifferences(
        added=new.filter(pa.array(alone)),
        removed=old.filter(pa.array(of_old < 0)),
        before=before.filter(pa.array(changed)),
        after=after.filter(pa.array(changed)),
        differs={name: mask[changed] for name, mask in differs.items()},
    )


def unshared(before: TableState, after: TableState) -> tuple[list[StateFile], list[StateFile]]:
    """Return the files of each state that the other does not have."""
    common = {file.identity for file in before.files} & {file.identity for file in after.files}
    common.discard("")
    return (
        [file for file in before.files if file.identity not in common],
        [file for file in after.files if file.identity not in common],
    )


def find_regions(
    before: TableState, after: TableState, key: Sequence[str], rows_at_once: int = ROWS_AT_ONCE
) -> list[Region]:
    """Divide the files that the states do not share into regions."""
    old, new = unshared(before, after)
    files = [*old, *new]
    if any(file.pixel is None for file in files):
        return _ranges(before, after, old, new, key[0], rows_at_once)
    pixels = sorted({file.pixel for file in files if file.pixel}, key=lambda one: (one.first, one.order))
    homes: list[tuple[int, int]] = []
    for pixel in pixels:
        if not homes or pixel.first >= homes[-1][1]:
            homes.append((pixel.first, pixel.end))
    starts = np.array([first for first, _ in homes], dtype=np.int64)
    sides: list[tuple[list[StateFile], list[StateFile]]] = [([], []) for _ in homes]
    for side, group in enumerate((old, new)):
        for file in group:
            assert file.pixel is not None  # noqa: S101 - narrows for mypy; checked above
            slot = int(np.searchsorted(starts, file.pixel.first, side="right")) - 1
            sides[slot][side].append(file)
    return [Region(tuple(olds), tuple(news)) for olds, news in sides]


def _ranges(
    before: TableState,
    after: TableState,
    old: list[StateFile],
    new: list[StateFile],
    name: str,
    rows_at_once: int,
) -> list[Region]:
    total = sum(file.rows for file in (*old, *new))
    if total <= rows_at_once:
        return [Region(tuple(old), tuple(new))]
    wanted = after.schema.field(name).type
    values = pa.chunked_array(
        [
            chunk
            for state, files in ((before, old), (after, new))
            for chunk in state.read(files, [name]).column(name).cast(wanted).chunks
        ]
    )
    ordered = values.take(pc.sort_indices(values))
    every = range(rows_at_once, total, rows_at_once)
    bounds = pc.unique(ordered.take(pa.array(list(every), pa.int64()))).to_pylist()
    column = ds.field(name)
    limits = [None, *bounds, None]
    regions = []
    for low, high in pairwise(limits):
        conditions = [] if low is None else [column >= pa.scalar(low, wanted)]
        conditions += [] if high is None else [column < pa.scalar(high, wanted)]
        regions.append(Region(tuple(old), tuple(new), reduce(lambda a, b: a & b, conditions)))
    return regions


def _moved_keys(regions: list[Region], before: TableState, after: TableState, key: Sequence[str]) -> pa.Table:
    """Return the keys of rows that are in one region before and in another after."""
    schema = pa.schema([after.schema.field(name) for name in key])
    olds, news = [schema.empty_table()], [schema.empty_table()]
    for region in regions if len(regions) > 1 and regions[0].where is None else ():
        old = _keys(before.read(region.before, key), key, schema)
        new = _keys(after.read(region.after, key), key, schema)
        ours, theirs = row_codes([old, new], key)
        olds.append(old.filter(pa.array(~_among(theirs, ours))))
        news.append(new.filter(pa.array(~_among(ours, theirs))))
    old, new = pa.concat_tables(olds), pa.concat_tables(news)
    return old.filter(pa.array(_are_among(new, old, key)))


def _are_among(known: pa.Table, rows: pa.Table, key: Sequence[str]) -> NDArray[np.bool_]:
    ours, theirs = row_codes([_keys(known, key, known.schema), _keys(rows, key, known.schema)], key)
    return _among(ours, theirs)


def _among(known: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which codes are known; codes count from 0 without gaps, so that a table of them is small."""
    there = np.zeros(max(known.max(initial=-1), codes.max(initial=-1)) + 1, dtype=bool)
    there[known] = True
    return there[codes]


def _keys(rows: pa.Table, key: Sequence[str], schema: pa.Schema) -> pa.Table:
    return rows.select(list(key)).cast(pa.schema([schema.field(name) for name in key]))


def _same(before: pa.ChunkedArray, after: pa.ChunkedArray) -> NDArray[np.bool_]:
    if pa.types.is_struct(before.type) and pa.types.is_struct(after.type):
        # As of rows: a column inside that only one of the states has changes none.
        both = [field.name for field in after.type if before.type.get_field_index(field.name) >= 0]
        same = before.is_null().to_numpy() == after.is_null().to_numpy()
        for name in both:
            same &= _same(pc.struct_field(before, name), pc.struct_field(after, name))
        return np.asarray(same, bool)
    if before.type != after.type:
        try:
            before = before.cast(after.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return np.zeros(
                len(after), dtype=bool
            )  # a value that the new type cannot hold: all count as changed
    return same_column(before, after)
