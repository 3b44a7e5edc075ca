"""Rows of Parquet files by ranges of an integer column: only row groups that may hold them are read.

Footers are remembered, so that a question to a catalogue that is open costs the row groups it touches.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse.cones import row_group_bounds
from zsds_tasks.lakehouse.storage import translated
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow.fs as pafs

MOST_FOOTERS = 512
"""Footers kept in memory: of so many files, those that were read last."""
_PARALLEL_READS = 4


@dataclass
class _Footer:
    metadata: pq.FileMetaData
    names: frozenset[str]
    bounds: dict[str, healpix.Integers] = field(default_factory=dict)


class RowGroups:
    """Reader of Parquet files of one file system.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    subject : str
        Named in errors.
    """

    def __init__(self, filesystem: pafs.FileSystem, subject: str) -> None:
        self.filesystem = filesystem
        self.subject = subject
        self._footers: OrderedDict[str, _Footer] = OrderedDict()
        self._lock = Lock()

    def each(
        self,
        paths: Sequence[str],
        column: str,
        ranges: healpix.Integers,
        wanted: pa.Schema,
        finish: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    ) -> pa.Table:
        """Return the rows of files whose integer column lies in ranges.

        Parameters
        ----------
        paths : sequence of str
        column : str
            int64; the more sorted, the less is read.
        ranges : numpy.ndarray (R, 2), int64
            Sorted, disjoint, half-open.
        wanted : pyarrow.Schema
            Columns to read; those a file lacks are null.
        finish : callable, optional
            Makes of the rows of a row group those to return, so that no more are kept.

        Returns
        -------
        pyarrow.Table
            In the order of `paths` and of the rows in them.

        Raises
        ------
        TransientError
            If a file is gone, or the storage does not answer.
        """

        def one(path: str) -> list[pa.Table]:
            try:
                with translated(f"{self.subject} {path}"):
                    return [finish(rows) for rows in self._groups(path, column, ranges, wanted)]
            except FileNotFoundError as error:
                raise TransientError(
                    "a file of this version is gone",
                    subject=f"{self.subject} {path}",
                    remedy="open the catalogue again",
                ) from error

        if len(paths) <= 1:
            parts = [one(path) for path in paths]
        else:
            with ThreadPoolExecutor(_PARALLEL_READS) as pool:
                parts = list(pool.map(one, paths))
        nothing = finish(wanted.empty_table())
        return pa.concat_tables([nothing, *(rows for part in parts for rows in part)])

    def _groups(
        self, path: str, column: str, ranges: healpix.Integers, wanted: pa.Schema
    ) -> Iterator[pa.Table]:
        with self._open(path) as (file, footer):
            bounds = footer.bounds.get(column)
            if bounds is None:
                bounds = footer.bounds[column] = row_group_bounds(file, column)
            others = [name for name in wanted.names if name in footer.names and name != column]
            for group in np.flatnonzero(healpix.overlaps_ranges(bounds[:, 0], bounds[:, 1], ranges)):
                # First the one column: most row groups of a wide question hold nothing.
                head = file.read_row_group(int(group), columns=[column], use_threads=False)
                inside = np.flatnonzero(healpix.in_ranges(integers_of(head.column(0)), ranges))
                if inside.size:
                    rows = head
                    if others:
                        rest = file.read_row_group(int(group), columns=others, use_threads=False)
                        rows = rest.append_column(column, head.column(0))
                    yield _completed(rows.take(pa.array(inside)), wanted)

    @contextmanager
    def _open(self, path: str) -> Iterator[tuple[pq.ParquetFile, _Footer]]:
        with self._lock:
            known = self._footers.get(path)
        metadata = known.metadata if known else None
        with pq.ParquetFile(path, metadata=metadata, filesystem=self.filesystem) as file:
            if known is None:
                known = _Footer(file.metadata, frozenset(file.schema_arrow.names))
            with self._lock:
                self._footers[path] = known
                self._footers.move_to_end(path)
                while len(self._footers) > MOST_FOOTERS:
                    self._footers.popitem(last=False)
            yield file, known


def integers_of(column: pa.ChunkedArray) -> healpix.Integers:
    """Return integers; nulls, which would make floats of all, become the least one there is."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), np.iinfo(np.int64).min).to_numpy(), np.int64)


def _completed(rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Give rows of a file all columns, in their types; an older file lacks newer ones."""
    for column in wanted:
        if column.name not in rows.schema.names:
            rows = rows.append_column(column, pa.nulls(rows.num_rows, column.type))
    return rows.select(wanted.names).cast(wanted)
