"""Small grids of cells: fill the ones without a value, smooth, take slopes; a plane comes out unchanged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Grid = NDArray[np.float32]
NEIGHBOURS = 12
"""Cells that a missing one is filled from: enough for a plane to be safe against one bad cell."""


def fill_gaps(values: Grid) -> Grid:
    """Return the grid (rows, columns) with every cell that is not finite set from the nearest ones.

    A plane through those, weighted by distance to the minus two, so that a gradient continues; its value is
    held within the range of those cells extended by their span, and with under six cells or all in
    one line it is their weighted mean.

    Raises
    ------
    ValueError
        If no cell is finite.
    """
    good = np.argwhere(np.isfinite(values))
    if not len(good):
        raise ValueError("no cell of the grid has a value")
    filled = values.copy()
    missing = np.argwhere(~np.isfinite(values))
    if not len(missing):
        return filled
    k = min(NEIGHBOURS, len(good))
    distance, near = KDTree(good).query(missing, k=k)
    for cell, d, rows in zip(missing, distance.reshape(-1, k), near.reshape(-1, k), strict=True):
        at, weight = good[rows] - cell, 1.0 / d**2
        found = values[tuple(good[rows].T)].astype(np.float64)
        filled[tuple(cell)] = _plane_at_origin(at, found, weight)
    return filled


def _plane_at_origin(
    at: NDArray[np.int64], values: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    mean = float(np.average(values, weights=weight))
    if len(values) < 6 or np.ptp(at[:, 0]) == 0 or np.ptp(at[:, 1]) == 0:
        return mean
    design = np.column_stack([np.ones(len(at)), at]) * np.sqrt(weight)[:, None]
    found, _, rank, _ = np.linalg.lstsq(design, values * np.sqrt(weight), rcond=None)
    span = float(np.ptp(values))
    if rank < 3:
        return mean
    return float(np.clip(found[0], values.min() - span, values.max() + span))


def _extended(values: Grid, by: int) -> Grid:
    """Return the grid with `by` cells more on each side, continued antisymmetrically: a plane stays one."""
    for axis in range(2):
        n = values.shape[axis]
        wanted = min(by, n - 1)
        pads = [(0, 0), (0, 0)]
        pads[axis] = (wanted, wanted)
        values = np.pad(values, pads, mode="reflect", reflect_type="odd")
        pads[axis] = (by - wanted, by - wanted)
        values = np.pad(values, pads, mode="edge")
    return values


def median_filter(values: Grid, side: int) -> Grid:
    """Return the running median of a finite grid over `side` x `side` cells."""
    if side == 1:
        return values
    half = side // 2
    windows = np.lib.stride_tricks.sliding_window_view(_extended(values, half), (2 * half + 1, 2 * half + 1))
    return np.ascontiguousarray(np.median(windows, axis=(2, 3)).astype(np.float32))


def slopes(values: Grid) -> tuple[Grid, Grid]:
    """Return the slope per cell along y and along x: half the difference of the two neighbours."""
    wide = _extended(values, 1)
    return (wide[2:, 1:-1] - wide[:-2, 1:-1]) / np.float32(2), (
        wide[1:-1, 2:] - wide[1:-1, :-2]
    ) / np.float32(2)
