"""Where on the sky a release has rows: counted by cell, and as a coverage map for machines (MOC)."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from zsds_tasks.lakehouse.difference_states import TableState, read_index
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Integers

FINEST_ORDER, COARSEST_ORDER = 11, 4
"""Orders of cells of the map: 1.7 arcmin to 3.7 deg."""
ROWS_PER_CELL = 8.0
"""Cells are as fine as this mean allows: finer ones would show holes where only rows are few."""
_NUNIQ_OFFSET = 4


@dataclass(frozen=True)
class SkyMap:
    """Rows counted by HEALPix cell."""

    order: int
    cells: Integers
    """(C,) numbers of the cells that hold rows, sorted."""
    counts: Integers
    """(C,) rows."""

    def coarser(self, order: int) -> SkyMap:
        """Return the map at a coarser order."""
        cells, inverse = np.unique(self.cells >> (2 * (self.order - order)), return_inverse=True)
        return SkyMap(order, cells, np.bincount(inverse, self.counts, len(cells)).astype(np.int64))


def count_rows(state: TableState) -> SkyMap:
    """Count the rows of a table over the sky, file by file."""
    found = SkyMap(FINEST_ORDER, np.empty(0, np.int64), np.empty(0, np.int64))
    for file in state.files:
        index = read_index(state, file)
        cells, counts = np.unique(healpix.ancestor(index, FINEST_ORDER), return_counts=True)
        found = union([found, SkyMap(FINEST_ORDER, cells, counts.astype(np.int64))])
    return found


def union(maps: Iterable[SkyMap]) -> SkyMap:
    """Add maps of one order."""
    parts = list(maps)
    every = np.concatenate([part.cells for part in parts])
    cells, inverse = np.unique(every, return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([part.counts for part in parts]), len(cells))
    return SkyMap(parts[0].order, cells, counts.astype(np.int64))


def resolved(map_: SkyMap) -> SkyMap:
    """Return the map at the finest order whose cells hold enough rows to show where there are none."""
    while map_.order > COARSEST_ORDER and map_.counts.size and map_.counts.mean() < ROWS_PER_CELL:
        map_ = map_.coarser(map_.order - 1)
    return map_


def moc_fits(map_: SkyMap) -> bytes:
    """Encode the coverage as a FITS file of the IVOA standard MOC 2.0 (space, NUNIQ numbering).

    Full sets of four cells are joined, so that the list is the shortest there is.
    """
    from astropy.io import fits  # noqa: PLC0415 - half a second, only when a release is made

    cells, order, unique = map_.cells, map_.order, []
    while order > 0:
        parents, counts = np.unique(cells >> 2, return_counts=True)
        whole = parents[counts == 4]
        unique.append(_NUNIQ_OFFSET * 4**order + cells[~np.isin(cells >> 2, whole)])
        cells, order = whole, order - 1
    unique.append(_NUNIQ_OFFSET + cells)
    column = fits.Column(name="UNIQ", format="1K", array=np.sort(np.concatenate(unique)))
    table = fits.BinTableHDU.from_columns([column])
    table.header.update(
        {
            "MOCVERS": "2.0",
            "MOCDIM": "SPACE",
            "ORDERING": "NUNIQ",
            "COORDSYS": "C",
            "MOCORD_S": map_.order,
            "MOCORDER": map_.order,
            "PIXTYPE": "HEALPIX",
        }
    )
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    return stream.getvalue()
