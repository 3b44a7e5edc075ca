"""Rows around a position: prune files, then row groups, by the spatial index; then measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.tables import INDEX_COLUMN, TableDeclaration, arrow_schema
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.fs as pafs

    from zsds_tasks.lakehouse.snapshot import Snapshot

ANYTHING = (int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max))
"""Of a row group that tells no bounds."""


def read_cone(
    snapshot: Snapshot,
    declaration: TableDeclaration,
    centre: tuple[float, float],
    radius_arcsec: float,
    columns: Sequence[str],
) -> pa.Table:
    """Return the rows of a snapshot within a cone, sorted by key.

    Parameters
    ----------
    snapshot : Snapshot
    declaration : TableDeclaration
        Laid out over the sky.
    centre : tuple of float
        Right ascension and declination, degrees.
    radius_arcsec : float
    columns : sequence of str
        Stored columns.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    UnusableInputError
        If the centre is no position or the radius not between 0 and 180 degrees.
    """
    ra, dec = centre
    if not (np.isfinite(ra) and abs(dec) <= 90.0 and 0.0 < radius_arcsec <= 180 * 3600.0):
        raise UnusableInputError(
            f"({ra}, {dec}) deg with radius {radius_arcsec} arcsec is no cone",
            subject=declaration.table,
            remedy="give a finite ra, dec from -90 to 90, and a radius above 0",
        )
    partition = declaration.healpix
    if partition is None:
        raise UnusableInputError("is not laid out over the sky", subject=declaration.table)
    ranges = healpix.cone_ranges(ra, dec, radius_arcsec / 3600.0)
    needed = list(dict.fromkeys([*columns, *declaration.key, INDEX_COLUMN, partition.ra, partition.dec]))
    schema = arrow_schema(declaration)
    wanted = pa.schema([schema.field(name) for name in needed])
    parts = [
        read_groups(snapshot.filesystem, snapshot.full_path(file), wanted, ranges)
        for file in snapshot.files_in_ranges(ranges)
    ]
    found = pa.concat_tables([wanted.empty_table(), *parts])
    inside = healpix.within_cone(
        found.column(partition.ra).to_numpy(),
        found.column(partition.dec).to_numpy(),
        centre,
        radius_arcsec / 3600.0,
    )
    rows = found.filter(pa.array(inside))
    return rows.sort_by([(name, "ascending") for name in declaration.key]).select(list(columns))


def read_groups(
    filesystem: pafs.FileSystem,
    path: str,
    wanted: pa.Schema,
    ranges: healpix.Integers,
    index_column: str = INDEX_COLUMN,
) -> pa.Table:
    """Return rows of a sorted file that lie in ranges of the spatial index, reading only their row groups.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
    wanted : pyarrow.Schema
        Columns to return, the index among them; those the file lacks are null.
    ranges : numpy.ndarray (R, 2), int64
        Sorted, disjoint, half-open.
    index_column : str
        Holds the order-29 index.

    Returns
    -------
    pyarrow.Table
    """
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        bounds = row_group_bounds(file, index_column)
        groups = np.flatnonzero(healpix.overlaps_ranges(bounds[:, 0], bounds[:, 1], ranges))
        present = [name for name in wanted.names if name in file.schema_arrow.names]
        rows = file.read_row_groups(groups.tolist(), columns=present, use_threads=False)
    for field in wanted:
        if field.name not in present:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    rows = rows.select(wanted.names).cast(wanted)
    return rows.filter(pa.array(healpix.in_ranges(rows.column(index_column).to_numpy(), ranges)))


def row_group_bounds(file: pq.ParquetFile, column: str) -> healpix.Integers:
    """Return the least and largest spatial index of the row groups of a file (G, 2)."""
    footer = file.metadata
    paths = [footer.schema.column(leaf).path for leaf in range(footer.num_columns)]
    leaf = paths.index(column)
    groups = [_bounds(footer.row_group(group).column(leaf)) for group in range(footer.num_row_groups)]
    return np.array(groups, dtype=np.int64).reshape(-1, 2)


def _bounds(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    statistics = chunk.statistics
    if statistics is None or not statistics.has_min_max:
        return ANYTHING
    return int(statistics.min), int(statistics.max)
