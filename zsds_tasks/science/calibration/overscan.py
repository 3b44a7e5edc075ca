"""Bias level of every row of one readout, from its overscan columns (reference section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.histograms import neighbour_noise
from zsds_tasks.science.calibration.robust import SIGMA_PER_MAD

ROUNDING_SIGMA = 0.2887
"""Scatter of a value rounded to the nearest integer: counts scatter by no less, whatever their MAD says."""
MIN_COLUMNS = 2


class OverscanConfig(Declaration):
    """How the level of a row is found."""

    used_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        1 / 3, description="last part of the columns in reading order: the first carry deferred charge"
    )
    clip_mads: Annotated[float, Field(gt=0)] = Field(3.0, description="columns further off are left out")
    degree: Annotated[int, Field(ge=0, le=12)] = Field(3, description="of the Legendre polynomial in row")


@dataclass(frozen=True)
class Overscan:
    """The bias level of one readout.

    Parameters
    ----------
    level : numpy.ndarray (ny), float32
        DN, of every row.
    noise : float
        Robust scatter of the columns used within their rows, DN: the read noise.
    drift : float
        Peak to peak of the level, DN.
    """

    level: NDArray[np.float32]
    noise: float
    drift: float


def fit_overscan(overscan: NDArray[np.uint16], read_x: int, config: OverscanConfig) -> Overscan:
    """Fit a low-order polynomial in row to the clipped medians of the rows.

    Parameters
    ----------
    overscan : numpy.ndarray (ny, n_overscan), uint16, DN
        In the orientation of the stored array.
    read_x : int
        1 if columns are stored in reading order, -1 if mirrored.
    config : OverscanConfig

    Returns
    -------
    Overscan

    Raises
    ------
    ValueError
        If there are not two columns, or fewer rows than the polynomial has terms.
    """
    ny, n_columns = overscan.shape
    if n_columns < MIN_COLUMNS or ny <= config.degree:
        raise ValueError(f"{ny} rows of {n_columns} overscan columns cannot give a level")
    used = max(MIN_COLUMNS, round(n_columns * config.used_fraction))
    quiet = overscan[:, ::read_x][:, n_columns - used :].astype(np.float32)
    middle = np.median(quiet, axis=1, keepdims=True)
    off = np.abs(quiet - middle)
    limit = config.clip_mads * np.maximum(
        SIGMA_PER_MAD * np.median(off, axis=1, keepdims=True), ROUNDING_SIGMA
    )
    medians = _row_medians(np.where(off <= limit, quiet, np.inf))
    row = np.linspace(-1.0, 1.0, ny)
    level = legendre.legval(row, _robust_fit(row, medians, config)).astype(np.float32)
    # From differences of neighbours in a row: neither the drift nor the fit's own error enters.
    noise = neighbour_noise(np.ascontiguousarray(overscan[:, ::read_x][:, n_columns - used :]))
    return Overscan(level, noise, float(np.ptp(level)))


def _row_medians(kept: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the medians of the finite values of each row; every row has some."""
    ordered = np.sort(kept, axis=1)
    n = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(n))
    return (ordered[rows, (n - 1) // 2].astype(np.float64) + ordered[rows, n // 2]) / 2


def _robust_fit(
    row: NDArray[np.float64], medians: NDArray[np.floating], config: OverscanConfig
) -> NDArray[np.float64]:
    """Return Legendre coefficients; rows far off the first fit (a bleed, a broken row) are left out."""
    coefficients = legendre.legfit(row, medians, config.degree)
    off = np.abs(medians - legendre.legval(row, coefficients))
    limit = config.clip_mads * max(SIGMA_PER_MAD * float(np.median(off)), ROUNDING_SIGMA)
    kept = off <= limit
    if np.count_nonzero(kept) <= config.degree:
        return coefficients
    return np.asarray(legendre.legfit(row[kept], medians[kept], config.degree))
