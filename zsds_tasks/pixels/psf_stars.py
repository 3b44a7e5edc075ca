"""Which stars a PSF is made from, and their pixels."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.peaks import Peaks, star_sigmas

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
USEFUL_SIGMA = 300.0
"""A star brighter than this is no better for a PSF."""


class PsfBuildConfig(Declaration):
    """Which stars make a PSF and how it may vary."""

    half_px: Annotated[int, Field(ge=4, le=30)] = Field(12, description="half side of the stamp, px")
    max_stars: Annotated[int, Field(ge=5)] = Field(500, description="stars used at most")
    least_sigma: Annotated[float, Field(gt=0)] = Field(20.0, description="least significance of a star")
    least_stars: tuple[int, int, int] = Field(
        (4, 10, 30), description="stars needed for a PSF that is constant, linear, quadratic in x and y"
    )
    max_degree: Annotated[int, Field(ge=0, le=2)] = Field(2, description="of the polynomial in x and y")
    contamination: Annotated[float, Field(gt=0)] = Field(
        0.1, description="light of neighbours over that of a star, at most, unless stars are few"
    )
    clip_mads: Annotated[float, Field(gt=0)] = Field(
        4.0, description="stars whose width or residuals are further off are left out"
    )
    rounds: Annotated[int, Field(ge=1, le=10)] = Field(2, description="of fitting stars, then tables")
    steps: Annotated[int, Field(ge=1)] = Field(6, description="conjugate gradient steps of a round, at most")
    prior_share: Annotated[float, Field(gt=0)] = Field(
        0.15, description="expected deviation from the first profile, as a share of its light there"
    )
    prior_floor: Annotated[float, Field(gt=0)] = Field(1e-5, description="the same, as a share of its peak")
    varying_share: Annotated[float, Field(gt=0)] = Field(
        0.03,
        description="expected deviation from the first profile's change over the image, as a share of it",
    )

    def degree_for(self, n_stars: int) -> int:
        """Return the degree that so many stars allow."""
        allowed = sum(n_stars >= n for n in self.least_stars) - 1
        return min(allowed, self.max_degree)


class TooFewStarsError(ValueError):
    """There are not enough stars to make a PSF.

    Parameters
    ----------
    n_peaks, n_candidates, n_kept, needed : int
        Peaks given, of these bright and clean enough, of these in agreement; and how many are needed.
    """

    def __init__(self, n_peaks: int, n_candidates: int, n_kept: int, needed: int) -> None:
        self.n_peaks, self.n_candidates, self.n_kept, self.needed = n_peaks, n_candidates, n_kept, needed
        super().__init__(n_peaks, n_candidates, n_kept, needed)

    def __str__(self) -> str:
        return (
            f"a PSF needs {self.needed} stars: of {self.n_peaks} peaks {self.n_candidates} are bright and "
            f"clean, and {self.n_kept} of those agree with one another"
        )


def choose_stars(
    image: Image, mask: Mask, bits: int, peaks: Peaks, fwhm_px: float, config: PsfBuildConfig
) -> Rows:
    """Return the peaks that make the best PSF: bright, clean, nearly alone, point-like, all over the image.

    Raises
    ------
    TooFewStarsError
        If they are fewer than a constant PSF needs.
    """
    half, needed = config.half_px, config.least_stars[0]
    core = math.ceil(fwhm_px)
    rows = candidate_stars(image, mask, bits, peaks, half=half, core=core, least_sigma=config.least_sigma)
    if len(rows) < needed:
        raise TooFewStarsError(len(peaks), len(rows), len(rows), needed)
    # In a crowded image the brightest have the least relative light around them.
    rows = rows[: 20 * config.max_stars]
    around = contamination(peaks, rows, fwhm_px, half)
    for limit in (config.contamination, 10 * config.contamination, np.inf):
        clean = around <= limit
        if np.count_nonzero(clean) >= min(2 * config.least_stars[2], len(rows)) or limit == np.inf:
            break
    rows, around = rows[clean], around[clean]
    sigmas = star_sigmas(image, mask, bits, peaks.x[rows], peaks.y[rows])
    kept = _stellar(sigmas, config.clip_mads)
    rows, around = rows[kept], around[kept]
    if len(rows) < needed:
        raise TooFewStarsError(len(peaks), len(kept), len(rows), needed)
    brightness = np.minimum(peaks.significance[rows], USEFUL_SIGMA)
    score = -(1 / brightness**2 + (around / 20) ** 2)
    shape = (image.shape[0], image.shape[1])
    return np.sort(rows[spread_choice(peaks.x[rows], peaks.y[rows], score, shape, config.max_stars)])


def _stellar(sigmas: Floats, clip_mads: float) -> NDArray[np.bool_]:
    """Tell which widths belong to the narrow bulk; a PSF that varies widens it, and is kept."""
    kept = np.isfinite(sigmas)
    size = np.log(np.where(kept, sigmas, 1.0))
    for _ in range(5):
        if not kept.any():
            break
        middle = np.median(size[kept])
        spread = max(1.4826 * float(np.median(np.abs(size[kept] - middle))), 0.02)
        kept = np.isfinite(sigmas) & (np.abs(size - middle) <= clip_mads * spread)
    return kept


def cut_stamps(image: Image, mask: Mask, bits: int, x: Floats, y: Floats, half: int) -> tuple[Image, Floats]:
    """Cut squares of 2 half + 1 pixels around positions.

    Parameters
    ----------
    image, mask, bits
        See `zsds_tasks.pixels.peaks.detect_peaks`.
    x, y : numpy.ndarray (N), float64
        0-based.
    half : int

    Returns
    -------
    stamps : numpy.ndarray (N, 2 half + 1, 2 half + 1), float32
        NaN where unusable or beside the image.
    shifts : numpy.ndarray (N, 2), float64
        The positions' (x, y) from the middle pixels, px.
    """
    stamps = np.empty((len(x), 2 * half + 1, 2 * half + 1), np.float32)
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    _cut(image, mask, bits, column, row, half, stamps)
    return stamps, np.column_stack([x - column, y - row])


@compiled("void(f4[:, ::1], u2[:, ::1], i8, i8[::1], i8[::1], i8, f4[:, :, ::1])", cache=True, nogil=True)
def _cut(
    image: Image,
    mask: Mask,
    bits: int,
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    half: int,
    out: Image,
) -> None:
    ny, nx = image.shape
    wanted = np.uint16(bits)
    for k in range(len(column)):
        for i in range(2 * half + 1):
            for j in range(2 * half + 1):
                r, c = row[k] + i - half, column[k] + j - half
                is_inside = 0 <= r < ny and 0 <= c < nx
                if is_inside and (mask[r, c] & wanted) == 0 and np.isfinite(image[r, c]):
                    out[k, i, j] = image[r, c]
                else:
                    out[k, i, j] = np.nan


@compiled("void(u2[:, ::1], i8, f4[:, ::1], i8[::1], i8[::1], i8, i8, f8[:, ::1])", cache=True, nogil=True)
def _bad_counts(
    mask: Mask,
    bits: int,
    image: Image,
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    core: int,
    half: int,
    out: Floats,
) -> None:
    """Count unusable pixels in the core (0) and the whole stamp (1)."""
    wanted = np.uint16(bits)
    for k in range(len(column)):
        out[k, 0] = out[k, 1] = 0.0
        for i in range(row[k] - half, row[k] + half + 1):
            for j in range(column[k] - half, column[k] + half + 1):
                if (mask[i, j] & wanted) != 0 or not np.isfinite(image[i, j]):
                    out[k, 1] += 1.0
                    if abs(i - row[k]) <= core and abs(j - column[k]) <= core:
                        out[k, 0] += 1.0


def candidate_stars(
    image: Image, mask: Mask, bits: int, peaks: Peaks, *, half: int, core: int, least_sigma: float
) -> Rows:
    """Return the peaks, brightest first, wholly inside, with a clean core and a nearly clean stamp."""
    ny, nx = image.shape
    column, row = np.rint(peaks.x).astype(np.int64), np.rint(peaks.y).astype(np.int64)
    kept = ~peaks.is_hidden & (peaks.significance >= least_sigma)
    kept &= (column >= half) & (row >= half) & (column < nx - half) & (row < ny - half)
    rows = np.flatnonzero(kept)
    counts = np.empty((len(rows), 2))
    _bad_counts(mask, bits, image, column[rows], row[rows], core, half, counts)
    rows = rows[(counts[:, 0] == 0) & (counts[:, 1] < 0.1 * (2 * half + 1) ** 2)]
    return rows[np.argsort(-peaks.significance[rows], kind="stable")]


def contamination(peaks: Peaks, rows: Rows, fwhm_px: float, half: int) -> Floats:
    """Return the light of other peaks around each of some peaks, over its own (N) float64.

    Light at a distance counts less the farther it is, but a neighbour at the edge of the stamp still counts.
    """
    tree = cKDTree(np.column_stack([peaks.x, peaks.y]))
    found = tree.query_ball_point(np.column_stack([peaks.x[rows], peaks.y[rows]]), float(half))
    counts = np.array([len(f) for f in found], np.intp)
    other = np.concatenate([np.sort(f) for f in found]).astype(np.intp) if len(rows) else np.zeros(0, np.intp)
    own = np.repeat(np.arange(len(rows)), counts)
    distance = np.hypot(peaks.x[other] - peaks.x[rows[own]], peaks.y[other] - peaks.y[rows[own]])
    weight = np.where(other == rows[own], 0.0, 1 / (1 + (distance / (2 * fwhm_px)) ** 2))
    light = np.bincount(own, weight * peaks.flux[other], minlength=len(rows))
    return np.asarray(light / peaks.flux[rows])


def spread_choice(x: Floats, y: Floats, score: Floats, shape: tuple[int, int], count: int) -> Rows:
    """Return up to `count` of some places, the best scores of every part of the image.

    Parameters
    ----------
    x, y, score : numpy.ndarray (N), float64
        The higher the score the better.
    shape : (ny, nx)
    count : int

    Returns
    -------
    numpy.ndarray (<= count), intp
        Ascending.
    """
    if len(x) <= count:
        return np.arange(len(x))
    side = max(1, min(8, int(np.sqrt(count / 4))))
    cell = (y * side / shape[0]).astype(np.intp) * side + (x * side / shape[1]).astype(np.intp)
    order = np.lexsort((np.arange(len(x)), -score, cell))
    _, starts = np.unique(cell[order], return_index=True)
    begins = np.zeros(len(x), np.intp)
    begins[starts] = starts
    rank = np.arange(len(x)) - np.maximum.accumulate(begins)
    # The best of every cell first, then the second best: sparse cells leave room to the others.
    turn = np.lexsort((-score[order], rank))[:count]
    return np.sort(order[turn])
