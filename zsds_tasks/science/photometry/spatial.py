"""How the zero point changes over an image: a polynomial of zero mean, and medians on a grid of cells.

The polynomial is a sum of products of Legendre polynomials P_i(u) P_j(v) of total degree 1 to n, with u and v
from -1 to 1 over the columns and rows. Each product has zero mean over the image and they are orthogonal, so
the mean of the term is zero and its RMS is a sum of squares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.science_headers import ZP_DEGREE, ZP_TERMS

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
BLOCK_ROWS = 64
LN_OF_MAG = -0.4 * np.log(10.0)


class SpatialConfig(Declaration):
    """When a spatial term is applied."""

    max_order: Annotated[int, Field(ge=0, le=ZP_DEGREE)] = Field(4, description="highest total degree tried")
    stars_per_coefficient: Annotated[float, Field(gt=0)] = Field(
        8.0, description="calibrators for each coefficient of the whole fit; fewer do not allow an order"
    )
    evidence: Annotated[float, Field(ge=0)] = Field(
        6.0, description="gain in the Bayesian information criterion that proves an order; 6 is strong"
    )
    min_rms_mag: Annotated[float, Field(ge=0)] = Field(
        0.005, description="RMS of the term over the image, noise subtracted; smaller is not applied"
    )
    cells: Annotated[int, Field(ge=1, le=32)] = Field(4, description="along each side of the residuals' grid")
    min_cell_stars: Annotated[int, Field(ge=1)] = Field(3, description="cells of fewer calibrators are NaN")


@dataclass(frozen=True)
class SpatialTerm:
    """What is added to the zero point at a place.

    Parameters
    ----------
    order : int
        Total degree; 0 for no term.
    coefficients : tuple of float, mag
        In the order of `term_degrees`.
    shape : (ny, nx)
        Of the image.
    """

    order: int
    coefficients: tuple[float, ...]
    shape: tuple[int, int]

    @classmethod
    def none(cls, shape: tuple[int, int]) -> SpatialTerm:
        """Return the term that is zero everywhere."""
        return cls(0, (), shape)

    def at(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Return the term (mag, float64) at FITS 1-based pixels; any shape."""
        px, py = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.order == 0:
            return np.zeros(np.broadcast_shapes(px.shape, py.shape))
        u, v = normalised(px, py, self.shape)
        return np.asarray(legendre.legval2d(u, v, self._matrix), np.float64)

    def flux_factor(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Return what makes fluxes at FITS 1-based pixels those of one zero point, float64."""
        return np.asarray(np.exp(LN_OF_MAG * self.at(x, y)))

    def flatten(self, image: Image) -> None:
        """Multiply an image without its sky, in place, so that one zero point holds all over it.

        Parameters
        ----------
        image : numpy.ndarray (ny, nx), float32
        """
        if self.order == 0:
            return
        ny, nx = image.shape
        u, v = normalised(np.arange(1.0, nx + 1), np.arange(1.0, ny + 1), self.shape)
        across = LN_OF_MAG * self._matrix.T @ legendre.legvander(u, self.order).T
        across = across.astype(np.float32)
        down = legendre.legvander(v, self.order).astype(np.float32)
        for first in range(0, ny, BLOCK_ROWS):  # so few rows stay in cache
            rows = slice(first, first + BLOCK_ROWS)
            factor = down[rows] @ across
            np.exp(factor, out=factor)
            image[rows] *= factor

    @property
    def _matrix(self) -> Floats:
        """Coefficients (order + 1, order + 1) by degree in columns and rows."""
        matrix = np.zeros((self.order + 1, self.order + 1))
        for (i, j), value in zip(term_degrees(self.order), self.coefficients, strict=True):
            matrix[i, j] = value
        return matrix

    @property
    def rms(self) -> float:
        """RMS over the image, mag."""
        return float(np.sqrt(np.sum(np.square(self.coefficients) * mean_squares(self.order))))

    def header(self) -> dict[str, int | float]:
        """Return the FITS keywords ZPORDER, ZPSPRMS and ZPLij (mag): the coefficient of P_i(u) P_j(v)."""
        cards: dict[str, int | float] = {"ZPORDER": self.order, "ZPSPRMS": self.rms}
        for degrees, value in zip(term_degrees(self.order), self.coefficients, strict=True):
            cards[ZP_TERMS[degrees]] = value
        return cards


def from_header(header: Mapping[str, Any], shape: tuple[int, int], *, subject: str = "header") -> SpatialTerm:
    """Read the keywords of `SpatialTerm.header` back.

    Parameters
    ----------
    header : Mapping
    shape : (ny, nx)
        Of the image they belong to.
    subject : str
        What errors name.

    Raises
    ------
    UnusableInputError
        If ZPORDER or a coefficient is missing, or the order is out of range.
    """
    order = header.get("ZPORDER")
    if not isinstance(order, int) or not 0 <= order <= ZP_DEGREE:
        raise UnusableInputError(
            f"ZPORDER is {order}, not 0 to {ZP_DEGREE}", subject=subject, remedy="calibrate the image again"
        )
    names = [ZP_TERMS[degrees] for degrees in term_degrees(order)]
    missing = [name for name in names if name not in header]
    if missing:
        raise UnusableInputError(
            f"no {', '.join(missing)} in the header", subject=subject, remedy="calibrate the image again"
        )
    return SpatialTerm(order, tuple(float(header[name]) for name in names), shape)


def term_degrees(order: int) -> list[tuple[int, int]]:
    """Return (i, j), degrees in columns and rows, of every product of total degree 1 to `order`."""
    return [(total - j, j) for total in range(1, order + 1) for j in range(total + 1)]


def mean_squares(order: int) -> Floats:
    """Return the mean over the image of the square of each product."""
    return np.array([1.0 / ((2 * i + 1) * (2 * j + 1)) for i, j in term_degrees(order)])


def normalised(x: Floats, y: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return FITS 1-based pixels as -1 to 1 between the outer edges of the image."""
    ny, nx = shape
    return (x - (nx + 1) / 2) / (nx / 2), (y - (ny + 1) / 2) / (ny / 2)


def spatial_design(x: Floats, y: Floats, shape: tuple[int, int], order: int) -> Floats:
    """Return the products at FITS 1-based pixels (N), as columns (N, order (order + 3) / 2)."""
    u, v = normalised(x, y, shape)
    of_x, of_y = legendre.legvander(u, order), legendre.legvander(v, order)
    degrees = np.array(term_degrees(order), np.int64).reshape(-1, 2)
    return np.asarray(of_x[:, degrees[:, 0]] * of_y[:, degrees[:, 1]], np.float64)


def cell_of(x: Floats, y: Floats, shape: tuple[int, int], cells: int) -> NDArray[np.int64]:
    """Return the number of the cell of FITS 1-based pixels: row by row, places outside in the nearest one."""
    ny, nx = shape
    column = np.clip((x - 0.5) * cells / nx, 0, cells - 1).astype(np.int64)
    row = np.clip((y - 0.5) * cells / ny, 0, cells - 1).astype(np.int64)
    return row * cells + column


def cell_middles(shape: tuple[int, int], cells: int) -> tuple[Floats, Floats]:
    """Return x and y, FITS 1-based, of the middles of the cells, each (cells, cells), [row, column]."""
    ny, nx = shape
    middle = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(middle * nx + 0.5, middle * ny + 0.5)
    return x, y


def cell_medians(
    x: Floats, y: Floats, values: Floats, shape: tuple[int, int], cells: int, min_stars: int
) -> Floats:
    """Return the median of values in each cell of a grid over the image.

    Parameters
    ----------
    x, y : (N) float64, FITS 1-based pixels
    values : (N) float64
    shape : (ny, nx)
    cells : int
        Along each side.
    min_stars : int
        Cells of fewer values are NaN.

    Returns
    -------
    numpy.ndarray (cells, cells), float64, [row, column]
    """
    cell = cell_of(x, y, shape, cells)
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(cells * cells + 1))
    medians = np.full(cells * cells, np.nan)
    for k, (start, end) in enumerate(pairwise(bounds)):
        if end - start >= min_stars:
            medians[k] = np.median(values[order[start:end]])
    return medians.reshape(cells, cells)
