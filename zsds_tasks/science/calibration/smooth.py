"""The smooth part of an image: what is left of it on scales of some hundred pixels, untouched by defects."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from pydantic import Field
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from zsds_tasks.declarations import Declaration

SIGMA_PER_FWHM = 0.42466
ROW_STEP = 2  # every other row says enough about a cell, in half the time
Cells = NDArray[np.float64]


class SmoothConfig(Declaration):
    """Where the smooth part ends."""

    scale_px: Annotated[float, Field(gt=0)] = Field(256.0, description="FWHM of the smoothing")
    cell_px: Annotated[int, Field(ge=4)] = Field(
        64, description="side of the cells whose medians are smoothed"
    )
    degree: Annotated[int, Field(ge=0, le=6)] = Field(
        3, description="of the polynomial taken out before smoothing, so that slopes survive at the edges"
    )


class Smoother:
    """Smooths images of one shape; what depends on the shape alone is worked out once.

    Parameters
    ----------
    shape : (ny, nx)
    config : SmoothConfig
    """

    def __init__(self, shape: tuple[int, int], config: SmoothConfig) -> None:
        self.config = config
        self.edges = tuple(_edges(n, config.cell_px) for n in shape)
        rows, columns = self.edges
        last_row = rows[1:] - 1 - (np.diff(rows) + 1) % ROW_STEP
        centres = [(rows[:-1] + last_row) / 2.0, (columns[:-1] + columns[1:] - 1) / 2.0]
        # Interpolation is linear in the cells: two small matrices do it for any image of this shape.
        self._to_pixels = [_spline_matrix(c, n) for c, n in zip(centres, shape, strict=True)]
        places = [2.0 * c / max(n - 1, 1) - 1.0 for c, n in zip(centres, shape, strict=True)]
        degrees = [min(config.degree, len(p) - 1) for p in places]
        y, x = np.meshgrid(*places, indexing="ij")
        self._terms = legendre.legvander2d(y.ravel(), x.ravel(), degrees)

    def cells(self, image: NDArray[np.float32]) -> Cells:
        """Return the medians of the cells; NaN where a cell has no finite pixel."""
        rows, columns = self.edges
        medians = np.full((len(rows) - 1, len(columns) - 1), np.nan)
        for i, (top, bottom) in enumerate(pairwise(rows)):
            for j, (left, right) in enumerate(pairwise(columns)):
                block = image[top:bottom:ROW_STEP, left:right]
                finite = block[np.isfinite(block)]
                if finite.size:
                    medians[i, j] = np.median(finite)
        return medians

    def smooth(self, cells: Cells) -> NDArray[np.float32]:
        """Return the smooth image (ny, nx), float32, that belongs to cells.

        Raises
        ------
        ValueError
            If too few cells have a number to fit the polynomial.
        """
        known = np.isfinite(cells).ravel()
        if known.sum() < self._terms.shape[1]:
            raise ValueError(f"only {known.sum()} of {known.size} cells have a number")
        solution, *_ = np.linalg.lstsq(self._terms[known], cells.ravel()[known], rcond=None)
        polynomial = (self._terms @ solution).reshape(cells.shape)
        rest = np.where(np.isfinite(cells), cells - polynomial, 0.0)
        sigma = SIGMA_PER_FWHM * self.config.scale_px / self.config.cell_px
        grid = polynomial + gaussian_filter(rest, sigma, mode="reflect")
        down, across = self._to_pixels
        return np.asarray(down @ grid.astype(np.float32) @ across.T)


def _edges(n: int, cell: int) -> NDArray[np.int64]:
    """Return the borders of cells of about a size, as equal as whole pixels allow."""
    count = max(1, round(n / cell))
    return np.arange(count + 1) * n // count


def _spline_matrix(centres: NDArray[np.float64], n: int) -> NDArray[np.float32]:
    """Return the matrix (n, cells) that takes values at the centres to every pixel."""
    if len(centres) == 1:
        return np.ones((n, 1), np.float32)
    spline = CubicSpline(centres, np.eye(len(centres)))
    return np.asarray(spline(np.arange(n)), np.float32)
