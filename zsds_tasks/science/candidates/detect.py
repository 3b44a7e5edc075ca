"""Where something changed: positive and negative peaks of the corrected score (reference section 6.7).

Peaks are as high as they are between pixels: see `zsds_tasks.science.candidates.summit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.science.candidates.summit import MOST_LOSS, level_around, summit

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
MOST_PEAKS_SHARE = 0.02
PEAK_COLUMNS = 5


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
    between_pixels: bool = Field(
        True, description="thresholds apply to the height of a peak between pixels, not at its highest pixel"
    )
    ring_px: tuple[float, float] = Field(
        (10.0, 14.5), description="radii of the ring around a peak in which its surroundings are looked at"
    )
    sheet_sigma: Annotated[float, Field(gt=0)] = Field(
        1.5, description="least S_corr of pixels of that ring that are bright"
    )
    sheet_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.35,
        description="of the ring; if so much is bright the peak stands on a sheet of light (a ghost or a "
        "halo that is not masked), and counts with what it rises over that",
    )


@dataclass(frozen=True)
class Detections:
    """Peaks of a score, those of both signs, in order of y, then x.

    Parameters
    ----------
    x, y : numpy.ndarray (N), float64
        0-based, px, between pixels.
    score : numpy.ndarray (N), float64
        Height of the peak of S_corr times the sign, on a sheet of light over that: positive, sigmas.
    sign : numpy.ndarray (N), float64
        1 where new is brighter than reference, -1 where fainter.
    level : numpy.ndarray (N), float64
        Of the sheet of light under the peak, sigmas: `score` with it is the height of S_corr. 0 off a sheet.
    """

    x: Floats
    y: Floats
    score: Floats
    sign: Floats
    level: Floats

    def __len__(self) -> int:
        """Return how many."""
        return len(self.x)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """Return some of them."""
        columns = (self.x, self.y, self.score, self.sign, self.level)
        return Detections(*(column[rows] for column in columns))

    def brighter_than(self, sigma: float) -> Detections:
        """Return those of at least so many sigmas."""
        return self.take(self.score >= sigma)


def detect(score: Image, config: DetectConfig, least_sigma: float = 0.0) -> Detections:
    """Return the peaks of both signs down to `faint_sigma`.

    Candidates are `detect(...).brighter_than(config.threshold_sigma)`.

    Noise alone has 0.176 u exp(-u^2 / 2) / FWHM^2 peaks per pixel and sign over u sigma (maxima of a smooth
    random field, stars of that FWHM, px); at whole pixels less than half of them where stars are sharp.

    Parameters
    ----------
    score : numpy.ndarray (ny, nx), float32, C-contiguous
        S_corr; NaN where unusable.
    config : DetectConfig
    least_sigma : float
        None lower is wanted, whatever `faint_sigma` says. The others stay the same.

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
    least = max(min(config.faint_sigma, config.threshold_sigma), least_sigma)
    around = np.array([*config.ring_px, config.sheet_sigma, config.sheet_share])
    arguments = (score, least, config.edge_px, config.between_pixels, around)
    found = np.empty((1024 + int(MOST_PEAKS_SHARE * score.size), PEAK_COLUMNS))
    n = _peaks(*arguments, found)
    if n > len(found):
        found = np.empty((n, PEAK_COLUMNS))
        _peaks(*arguments, found)
    every = Detections(*np.ascontiguousarray(found[:n].T))
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


@compiled("b1(f4[:, ::1], i8, i8, f4)", cache=True, nogil=True)
def _is_highest(score: Image, y: int, x: int, sign: np.float32) -> bool:
    """Return whether a pixel is the highest of 3 x 3; of equal ones the last in reading order is."""
    value = sign * score[y, x]
    for i in range(-1, 2):
        for j in range(-1, 2):
            other = sign * score[y + i, x + j]
            later = i > 0 or (i == 0 and j > 0)
            if other > value or (later and other == value):
                return False
    return True


@compiled("i8(f4[:, ::1], f8, i8, b1, f8[::1], f8[:, ::1])", cache=True, nogil=True)
def _peaks(score: Image, least: float, edge: int, between: bool, around: Floats, out: Floats) -> int:
    """Write x, y, height, sign and level of local maxima of the absolute value; return how many there are.

    A pixel beside one that is unusable can be a peak: what is not a number is not higher.
    """
    ny, nx = score.shape
    lowest = np.float32(least * (1.0 - MOST_LOSS)) if between else np.float32(least)
    place, work, ring = np.zeros(2), np.empty((2, 7)), np.empty((2 * int(around[1]) + 3) ** 2)
    n = 0
    for y in range(edge, ny - edge):
        line = score[y]
        for x in range(edge, nx - edge):
            if not (line[x] >= lowest or line[x] <= -lowest):
                continue
            sign = np.float32(1.0) if line[x] > 0 else np.float32(-1.0)
            if not _is_highest(score, y, x, sign):
                continue
            height = summit(score, y, x, sign, place, work) if between else float(sign * line[x])
            level = level_around(score, y, x, sign, around, ring) if height >= least else 0.0
            height -= level
            if height < least:
                continue
            if n < out.shape[0]:
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = x + place[0], y + place[1], height, sign
                out[n, 4] = level
            n += 1
    return n
