"""Which HEALPix pixel holds which row: existing pixels win, gaps are filled as coarsely as may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.tables import INDEX_COLUMN, TableDeclaration, arrow_schema
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Integers, Pixel

FINEST_ORDER = 12
"""Pixels are not split beyond this order (52 arcsec): a pile of rows on one spot stays together."""


def hats_folder(pixel: Pixel) -> str:
    """``Norder=<k>/Dir=<d>/Npix=<n>``: where HATS keeps the rows of a pixel."""
    return f"Norder={pixel.order}/Dir={hats_directory(pixel)}/Npix={pixel.number}"


def hats_directory(pixel: Pixel) -> int:
    """Return the ``Dir`` of a pixel: no folder shall hold more than 10,000 pixels."""
    return pixel.number // 10_000 * 10_000


def assign(index: Integers, existing: Iterable[Pixel], coarsest_order: int) -> list[tuple[Pixel, Integers]]:
    """Give every row its pixel.

    Parameters
    ----------
    index : numpy.ndarray (N), int64
        Order-29 index of each row.
    existing : iterable of Pixel
        Pixels that hold rows already; they do not overlap.
    coarsest_order : int
        New pixels are of this order, or as much finer as it takes not to overlap an existing one.

    Returns
    -------
    list of (Pixel, numpy.ndarray)
        Pixels in the order of the sky, with the row numbers of each. Old and new pixels never overlap.
    """
    pixels = sorted(existing, key=lambda pixel: pixel.first)
    first = np.array([pixel.first for pixel in pixels], dtype=np.int64)
    end = np.array([pixel.end for pixel in pixels], dtype=np.int64)
    order = np.full(len(index), -1, dtype=np.int64)
    if pixels:
        slot = np.searchsorted(first, index, side="right") - 1
        covered = (slot >= 0) & (index < end[np.maximum(slot, 0)])
        orders = np.array([pixel.order for pixel in pixels], dtype=np.int64)
        order[covered] = orders[slot[covered]]
    finest = max([coarsest_order, *(pixel.order for pixel in pixels)])
    for candidate in range(coarsest_order, finest + 1):
        open_rows = np.flatnonzero(order < 0)
        if open_rows.size == 0:
            break
        shift = 2 * (healpix.INDEX_ORDER - candidate)
        number = index[open_rows] >> shift
        # Existing pixels are sorted and disjoint: only the first one that ends after ours begins can overlap.
        following = np.searchsorted(end, number << shift, side="right")
        begins = np.append(first, healpix.SKY_RANGE)[following]
        order[open_rows[begins >= (number + 1) << shift]] = candidate
    return list(_grouped(index, order))


def _grouped(index: Integers, order: Integers) -> Iterator[tuple[Pixel, Integers]]:
    if index.size == 0:
        return
    number = index >> (2 * (healpix.INDEX_ORDER - order))
    rows = np.lexsort((number, order, index))
    changes = np.flatnonzero(np.diff(number[rows]) | np.diff(order[rows])) + 1
    for group in np.split(rows, changes):
        yield Pixel(int(order[group[0]]), int(number[group[0]])), group


def split(index: Integers, pixel: Pixel, max_rows: int) -> list[Pixel]:
    """Divide a pixel until none of its parts holds more than `max_rows` rows.

    Parameters
    ----------
    index : numpy.ndarray (N), int64
        Order-29 indexes inside the pixel, sorted.
    pixel : Pixel
    max_rows : int

    Returns
    -------
    list of Pixel
        Those that hold rows; only `pixel` itself if it is small enough or as fine as allowed.
    """
    low, high = np.searchsorted(index, [pixel.first, pixel.end])
    if high - low <= max_rows or pixel.order >= FINEST_ORDER:
        return [pixel] if high > low else []
    return [part for child in pixel.children for part in split(index, child, max_rows)]


def tile(index: Integers, coarsest_order: int, max_rows: int) -> list[Pixel]:
    """Cover rows (sorted indexes) with pixels no coarser than an order and no fuller than `max_rows`."""
    roots = np.unique(healpix.ancestor(index, coarsest_order))
    return [part for root in roots for part in split(index, Pixel(coarsest_order, int(root)), max_rows)]


def with_index(table: pa.Table, ra: str, dec: str) -> pa.Table:
    """Put the spatial index before the columns of a table, computed from two of them.

    Raises
    ------
    ValueError
        If a position is none; names the row.
    """
    index = healpix.index_of(table.column(ra).to_numpy(), table.column(dec).to_numpy())
    field = pa.field(INDEX_COLUMN, pa.int64(), nullable=False)
    return table.add_column(0, field, pa.array(index, pa.int64()))


def as_stored(rows: pa.Table, declaration: TableDeclaration) -> pa.Table:
    """Put conforming rows into the schema of the files, with the spatial index where there is one.

    Raises
    ------
    UnusableInputError
        If a row has no position; names it.
    """
    partition = declaration.healpix
    if partition is None:
        return rows
    try:
        indexed = with_index(rows, partition.ra, partition.dec)
    except ValueError as error:
        raise UnusableInputError(
            f"columns {partition.ra}, {partition.dec}: {error}",
            subject=declaration.table,
            remedy="store only rows with a position",
        ) from error
    return indexed.cast(arrow_schema(declaration))


def sorted_rows(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Sort rows by the spatial index, where there is one, then by key."""
    names = [INDEX_COLUMN, *key] if INDEX_COLUMN in table.schema.names else list(key)
    return table.sort_by([(name, "ascending") for name in names])


def absorbed(rows_of_files: Sequence[int], incoming: int, ceiling: int) -> NDArray[np.int64]:
    """Choose small files to rewrite together with new rows.

    A file joins while it is no larger than what has gathered so far. Each row is thus rewritten about
    log2(N) times in all, and a pixel keeps about log2(N) files between compactions.

    Parameters
    ----------
    rows_of_files : sequence of int
        Rows in each file of the pixel.
    incoming : int
        Rows to be written.
    ceiling : int
        Stop gathering beyond this many rows.

    Returns
    -------
    numpy.ndarray of int64
        Numbers of the files chosen.
    """
    chosen: list[int] = []
    gathered = incoming
    for number in sorted(range(len(rows_of_files)), key=lambda file: (rows_of_files[file], file)):
        if rows_of_files[number] > gathered or gathered + rows_of_files[number] > ceiling:
            break
        chosen.append(number)
        gathered += rows_of_files[number]
    return np.array(chosen, dtype=np.int64)
