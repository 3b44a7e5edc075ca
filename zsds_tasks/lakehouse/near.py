"""Few rows out of many: those near some places, or of some hours, in a region that has millions.

A cone of degrees over years of candidates cannot be read whole for the sake of a thousand places. First the
spatial index and the columns of the conditions are read, row group by row group; only of groups in which
something is left are the other columns read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds_tasks.lakehouse.cones import row_group_bounds
from zsds_tasks.lakehouse.predicates import Condition, Where, conditions_of, mask_of
from zsds_tasks.products.tables import INDEX_COLUMN, arrow_schema
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zsds_tasks.lakehouse.snapshot import DataFile, Snapshot
    from zsds_tasks.lakehouse.tables import Table

CELL_OVER_RADIUS = 8.0
"""Cells of the spatial index are so many times as wide as the circles that they cover."""
RIM = 16


def read_region(
    table: Table,
    centre: tuple[float, float],
    radius_deg: float,
    columns: Sequence[str],
    where: Where | None = None,
) -> pa.Table:
    """Return the rows of a table within a cone that meet conditions, sorted by key.

    Parameters
    ----------
    table : Table
        Laid out over the sky.
    centre : (ra, dec), degrees
    radius_deg : float
    columns : sequence of str
    where : mapping, optional
        As `Table.read` takes it.

    Returns
    -------
    pyarrow.Table
        Empty if nothing was ever written.
    """
    ranges = healpix.cone_ranges(*centre, radius_deg)
    found, ra, dec = _read(table, ranges, columns, where)
    inside = healpix.within_cone(ra, dec, centre, radius_deg)
    return _finished(table, found, inside, columns)


def read_near(
    table: Table,
    ra: ArrayLike,
    dec: ArrayLike,
    radius_arcsec: float,
    columns: Sequence[str],
    where: Where | None = None,
) -> pa.Table:
    """Return the rows of a table within a small distance of any of many places, sorted by key.

    Parameters
    ----------
    table : Table
        Laid out over the sky.
    ra, dec : array_like (n), degrees
    radius_arcsec : float
    columns : sequence of str
    where : mapping, optional
        As `Table.read` takes it.

    Returns
    -------
    pyarrow.Table
        Empty if nothing was ever written.
    """
    places = healpix.unit_vectors(np.atleast_1d(ra), np.atleast_1d(dec))
    found, ra_found, dec_found = _read(table, cells_around(places, radius_arcsec), columns, where)
    chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2)
    inside = np.zeros(found.num_rows, bool)
    if found.num_rows and len(places):
        nearest, _ = cKDTree(places).query(healpix.unit_vectors(ra_found, dec_found))
        inside = nearest <= chord * (1 + 1e-9)
    return _finished(table, found, inside, columns)


def read_ranges(
    table: Table,
    ranges: healpix.Integers,
    columns: Sequence[str],
    where: Where | None = None,
    *,
    version: int | None = None,
) -> pa.Table:
    """Return the rows of a table in ranges of the order-29 index that meet conditions, sorted by key.

    Parameters
    ----------
    table : Table
        Laid out over the sky.
    ranges : numpy.ndarray (R, 2), int64
        Sorted, disjoint, half-open.
    columns : sequence of str
    where : mapping, optional
        As `Table.read` takes it.
    version : int, optional
        Go back in time.

    Returns
    -------
    pyarrow.Table
        Empty if nothing was ever written.
    """
    found, _, _ = _read(table, ranges, columns, where, version)
    return _finished(table, found, np.ones(found.num_rows, bool), columns)


def largest(table: Table, column: str, where: Where) -> Any:
    """Return the largest value of a column among the rows that meet conditions; None if there are none.

    Files are looked at in the order of what their statistics promise: few are opened.
    """
    schema = arrow_schema(table.declaration)
    conditions = conditions_of(where, schema, subject=table.name)

    def load(snapshot: Snapshot) -> Any:
        bounds = snapshot.largest_by_file(column)
        files = snapshot.files_that_may_match(conditions)
        unknown = [file for file in files if bounds.get(file.path) is None]
        known = sorted(set(files) - set(unknown), key=lambda file: bounds[file.path], reverse=True)
        best = None
        for file in [*unknown, *known]:
            bound = bounds.get(file.path)
            if best is not None and bound is not None and bound <= best:
                break
            rows = snapshot.load([file], [column], conditions).column(column)
            here = pc.max(rows).as_py() if rows.length() > rows.null_count else None
            best = here if best is None or (here is not None and here > best) else best
        return best

    return table.on_snapshot(load)


def cells_around(places: NDArray[np.float64], radius_arcsec: float) -> healpix.Integers:
    """Return ranges of the spatial index that cover circles around places (n, 3).

    Cells are much wider than circles: one that reaches into a circle holds its middle, or a point of a rim
    of 1.3 radii, for a corner that reaches in is wider there than the points of the rim are apart.
    """
    if not len(places):
        return np.zeros((0, 2), np.int64)
    order = min(healpix.finest_order_wider_than(CELL_OVER_RADIUS * radius_arcsec / 3600), healpix.INDEX_ORDER)
    east = np.cross([0.0, 0.0, 1.0], places)
    at_pole = np.linalg.norm(east, axis=1) < 1e-9
    east[at_pole] = [1.0, 0.0, 0.0]
    east /= np.linalg.norm(east, axis=1)[:, None]
    north = np.cross(places, east)
    angle = 2 * np.pi * np.arange(RIM) / RIM
    rim = np.tan(1.3 * np.radians(radius_arcsec / 3600))
    around = [places] + [places + rim * (np.cos(a) * east + np.sin(a) * north) for a in angle]
    x, y, z = np.concatenate(around).T
    ra, dec = np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))
    cells = np.unique(healpix.ancestor(healpix.index_of(ra, dec), order))
    shift = 2 * (healpix.INDEX_ORDER - order)
    return healpix.merge_ranges(np.stack([cells << shift, (cells + 1) << shift], axis=1))


def _read(
    table: Table,
    ranges: healpix.Integers,
    columns: Sequence[str],
    where: Where | None,
    version: int | None = None,
) -> tuple[pa.Table, NDArray[np.float64], NDArray[np.float64]]:
    """Return rows in ranges that meet conditions, with the key, and their places."""
    partition = table.declaration.healpix
    if partition is None:
        raise ValueError(f"{table.name} is not laid out over the sky")
    schema = arrow_schema(table.declaration)
    conditions = conditions_of(where, schema, subject=table.name)
    names = list(dict.fromkeys([*columns, *table.declaration.key, partition.ra, partition.dec]))
    wanted = pa.schema([schema.field(name) for name in names])

    def load(snapshot: Snapshot) -> pa.Table:
        # A file by its statistics of place and of the conditions; both must leave it open.
        open_ones = {file.path for file in snapshot.files_that_may_match(conditions)}
        parts = [wanted.empty_table()]
        for file in snapshot.files_in_ranges(ranges):
            if file.path in open_ones:
                parts += _of_file(snapshot, file, wanted, ranges, conditions)
        return pa.concat_tables(parts)

    found = table.on_snapshot(load, version)
    found = wanted.empty_table() if found is None else found
    ra, dec = (found.column(name).to_numpy() for name in (partition.ra, partition.dec))
    return found, ra, dec


def _of_file(
    snapshot: Snapshot,
    data: DataFile,
    wanted: pa.Schema,
    ranges: healpix.Integers,
    conditions: tuple[Condition, ...],
) -> Iterator[pa.Table]:
    with pq.ParquetFile(snapshot.full_path(data), filesystem=snapshot.filesystem) as file:
        present = set(file.schema_arrow.names)
        asked = dict.fromkeys([INDEX_COLUMN, *(condition.column for condition in conditions)])
        first = [name for name in asked if name in present]
        bounds = row_group_bounds(file, INDEX_COLUMN)
        for group in np.flatnonzero(healpix.overlaps_ranges(bounds[:, 0], bounds[:, 1], ranges)):
            head = file.read_row_group(int(group), columns=first, use_threads=False)
            mask = healpix.in_ranges(head.column(INDEX_COLUMN).to_numpy(), ranges)
            for condition in conditions:
                # A column that a file of an older declaration lacks is null in all its rows.
                known = condition.column in present
                mask &= mask_of((condition,), head) if known else condition.kind == "null"
            if not mask.any():
                continue
            there = [name for name in wanted.names if name in present]
            rows = file.read_row_group(int(group), columns=there, use_threads=False).filter(pa.array(mask))
            for field in wanted:
                if field.name not in present:
                    rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
            yield rows.select(wanted.names).cast(wanted)


def _finished(table: Table, found: pa.Table, inside: NDArray[np.bool_], columns: Sequence[str]) -> pa.Table:
    key = [(name, "ascending") for name in table.declaration.key]
    return found.filter(pa.array(inside)).sort_by(key).select(list(columns))
