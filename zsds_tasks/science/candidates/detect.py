"""Where something changed: positive and negative peaks of the corrected score (reference section 6.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
MOST_PEAKS_SHARE = 0.02
PEAK_COLUMNS = 4


class DetectConfig(Declaration):
    """What counts as a detection."""

    threshold_sigma: Annotated[float, Field(gt=0)] = Field(5.0, description="least S_corr of a candidate")
    faint_sigma: Annotated[float, Field(gt=0)] = Field(
        3.0, description="least S_corr that is kept at all: counts as an earlier detection later on"
    )
    merge_px: Annotated[float, Field(ge=0)] = Field(
        3.0, description="of two peaks of one sign that are nearer, the higher one counts"
    )
    edge_px: Annotated[int, Field(ge=1)] = Field(10, description="no detection nearer to an edge")


@dataclass(frozen=True)
class Detections:
    """Peaks of a score, those of both signs, in order of y, then x.

    Parameters
    ----------
    x, y : numpy.ndarray (N), float64
        0-based, px, between pixels.
    score : numpy.ndarray (N), float64
        S_corr of the highest pixel times the sign: positive, sigmas.
    sign : numpy.ndarray (N), float64
        1 where new is brighter than reference, -1 where fainter.
    """

    x: Floats
    y: Floats
    score: Floats
    sign: Floats

    def __len__(self) -> int:
        """Return how many."""
        return len(self.x)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """Return some of them."""
        return Detections(self.x[rows], self.y[rows], self.score[rows], self.sign[rows])

    def brighter_than(self, sigma: float) -> Detections:
        """Return those of at least so many sigmas."""
        return self.take(self.score >= sigma)


def detect(score: Image, config: DetectConfig) -> Detections:
    """Return the peaks of both signs down to `faint_sigma`.

    Candidates are `detect(...).brighter_than(config.threshold_sigma)`.

    Parameters
    ----------
    score : numpy.ndarray (ny, nx), float32, C-contiguous
        S_corr; NaN where unusable.
    config : DetectConfig

    Returns
    -------
    Detections
        Of two peaks of one sign within `merge_px` the higher; of both signs both: a dipole keeps its halves.

    Raises
    ------
    ValueError
        If the score is no image.
    """
    if score.ndim != 2:
        raise ValueError(f"a score of {score.ndim} dimensions")
    least = np.float32(min(config.faint_sigma, config.threshold_sigma))
    found = np.empty((1024 + int(MOST_PEAKS_SHARE * score.size), PEAK_COLUMNS))
    n = _peaks(score, least, config.edge_px, found)
    if n > len(found):
        found = np.empty((n, PEAK_COLUMNS))
        _peaks(score, least, config.edge_px, found)
    x, y, value, sign = np.ascontiguousarray(found[:n].T)
    every = Detections(x, y, value, sign)
    return every.take(_highest(every, config.merge_px))


def _highest(found: Detections, radius: float) -> NDArray[np.bool_]:
    """Return which peaks have no higher one of their sign in reach that is itself kept."""
    kept = np.ones(len(found), np.bool_)
    for sign in (1.0, -1.0):
        rows = np.flatnonzero(found.sign == sign)
        if len(rows) < 2 or radius <= 0:
            continue
        places = np.column_stack([found.x[rows], found.y[rows]])
        pairs = cKDTree(places).query_pairs(radius, output_type="ndarray")
        # The highest first; of equals the first in reading order.
        order = np.lexsort((np.arange(len(rows)), -found.score[rows]))
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows))
        first, second = rank[pairs].min(axis=1), rank[pairs].max(axis=1)
        is_kept = np.ones(len(rows), np.bool_)
        for k in np.lexsort((second, first)):
            if is_kept[first[k]]:
                is_kept[second[k]] = False
        kept[rows[order]] = is_kept
    return kept


@njit("f8(f8, f8, f8)", cache=True, nogil=True)
def _vertex(before: float, middle: float, after: float) -> float:
    """Return where a parabola through three equidistant values peaks, in units of their distance."""
    bend = before - 2.0 * middle + after
    return 0.0 if not bend < 0.0 else min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@njit("i8(f4[:, ::1], f4, i8, f8[:, ::1])", cache=True, nogil=True)
def _peaks(score: Image, least: np.float32, edge: int, out: Floats) -> int:
    """Write x, y, height and sign of local maxima of the absolute value; return how many there are.

    A pixel beside one that is unusable can be a peak: what is not a number is not higher.
    """
    ny, nx = score.shape
    n = 0
    for y in range(edge, ny - edge):
        line = score[y]
        for x in range(edge, nx - edge):
            if not (line[x] >= least or line[x] <= -least):
                continue
            sign = np.float32(1.0) if line[x] > 0 else np.float32(-1.0)
            value = sign * line[x]
            is_peak = True
            for i in range(-1, 2):
                for j in range(-1, 2):
                    other = sign * score[y + i, x + j]
                    # Of equal neighbours the last in reading order is the peak.
                    later = i > 0 or (i == 0 and j > 0)
                    if other > value or (later and other == value):
                        is_peak = False
            if not is_peak:
                continue
            if n < out.shape[0]:
                out[n, 0] = x + _vertex(sign * line[x - 1], value, sign * line[x + 1])
                out[n, 1] = y + _vertex(sign * score[y - 1, x], value, sign * score[y + 1, x])
                out[n, 2] = value
                out[n, 3] = sign
            n += 1
    return n
