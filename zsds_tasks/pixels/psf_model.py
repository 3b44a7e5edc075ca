"""A point-spread function that varies over an image: tables at sub-pixel steps, one per polynomial term.

It is an *effective* PSF: the light a pixel records as a function of its distance from the star, the pixel's
own square included. So it is sampled, never integrated, and is the same function for any sub-pixel place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.psf_splines import (
    MARGIN,
    by_phase,
    in_order,
    mix_tables,
    node_offsets,
    sample_table,
    spline_coefficients,
    spline_taps,
    table_rows,
    terms_at,
)

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
FINE_STEPS = 10  # per pixel, where widths are measured
SIGMA_OF_FWHM = 1 / 2.3548200450309493
NODES_PER_FWHM = 5.2
"""A cubic spline then follows a Gaussian to 2e-4 of its peak."""


def term_count(degree: int) -> int:
    """Return how many polynomial terms of x and y a degree has."""
    return (degree + 1) * (degree + 2) // 2


def fitting_oversampling(fwhm_px: float, nodes_per_fwhm: float = NODES_PER_FWHM) -> int:
    """Return how many nodes per pixel a table of a PSF of this width needs."""
    return max(1, min(6, math.ceil(nodes_per_fwhm / fwhm_px)))


@dataclass(frozen=True)
class PsfModel:
    """The PSF anywhere in one image.

    Parameters
    ----------
    tables : numpy.ndarray (T, S, S, n, n), float32
        B-spline coefficients of every polynomial term (see `psf_splines`). On a stamp of 2 half + 1 pixels
        the first sums to 1 and the others to 0, so the PSF sums to 1 anywhere.
    degree : int
        Of the polynomial in x and y, 0 to 2: T is 1, 3 or 6.
    shape : (ny, nx)
        Of the image; its half sides are the unit of the polynomial.
    half : int
        Half side of the stamp it holds.
    n_stars : int
        Stars it was made from.
    scatter : float
        Robust scatter of the fluxes of those stars about what noise explains, relative: what the model may be
        off by from star to star. 0 where noise explains all.
    chi : float
        Median over those stars of the RMS residual over that expected.
    """

    tables: Image
    degree: int
    shape: tuple[int, int]
    half: int = 12
    n_stars: int = 0
    scatter: float = 0.0
    chi: float = 1.0

    def __post_init__(self) -> None:
        s, n = self.tables.shape[1], table_rows(self.half)
        expected = (term_count(self.degree), s, s, n, n)
        if self.tables.shape != expected or self.tables.dtype != np.float32:
            raise ValueError(f"tables of {self.tables.shape} {self.tables.dtype}, not {expected} float32")

    @classmethod
    def from_nodes(
        cls, nodes: Floats, degree: int, shape: tuple[int, int], half: int, oversampling: int
    ) -> PsfModel:
        """Make a model from values at the nodes (T, n S, n S) float64; normalises every term.

        Raises
        ------
        ValueError
            If the first term holds no light.
        """
        middle = node_offsets(half, oversampling)
        pixels = np.flatnonzero((np.abs(middle - np.rint(middle)) < 1e-9) & (np.abs(middle) < half + 0.5))
        sums = nodes[:, pixels[:, None], pixels].sum(axis=(1, 2))
        if not sums[0] > 0:
            raise ValueError(f"a PSF of sum {sums[0]}")
        first = nodes[0] / sums[0]
        rest = nodes[1:] / sums[0] - first * (sums[1:] / sums[0])[:, None, None]
        values = np.concatenate([first[None], rest])
        table = by_phase(spline_coefficients(values), oversampling)
        return cls(np.ascontiguousarray(table, np.float32), degree, shape, half)

    @property
    def oversampling(self) -> int:
        """Nodes per pixel."""
        return int(self.tables.shape[1])

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return a 0-based image place in units of the polynomial."""
        ny, nx = self.shape
        return (2 * x + 1) / nx - 1, (2 * y + 1) / ny - 1

    def mixed(self, x: float, y: float) -> Image:
        """Return the table (S, S, n, n) float32 of the PSF as it is at 0-based image place (x, y)."""
        terms = np.zeros(6)
        terms_at(*self.place(x, y), self.degree, terms)
        out = np.empty(self.tables.shape[1:], np.float32)
        mix_tables(self.tables, terms, self.half, out)
        return out

    def stamp(self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return the PSF on a square of pixels, centred on its middle.

        Parameters
        ----------
        x, y : float
            0-based place in the image.
        size : int
            Pixels along a side, odd. Beyond the stamp of the model the PSF is zero.
        shift : (dx, dy)
            Place of the star from the middle pixel, each within -1 and 1 px.

        Returns
        -------
        numpy.ndarray (size, size), float32
            Sum 1 if size is that of the model or more and the shift is zero; a smaller one holds what falls
            inside of the same light.

        Raises
        ------
        ValueError
            If `size` is even or not positive, or the shift too large.
        """
        if size < 1 or size % 2 == 0:
            raise ValueError(f"a stamp has an odd number of pixels along a side, not {size}")
        if max(abs(shift[0]), abs(shift[1])) > 1:
            raise ValueError(f"a star {shift} px from the middle pixel is not centred on it")
        half = min(size // 2, self.half)
        inner = self._sample(self.mixed(x, y), half, *shift)
        if half == size // 2:
            return inner
        out = np.zeros((size, size), np.float32)
        rest = size // 2 - half
        out[rest : size - rest, rest : size - rest] = inner
        return out

    def _sample(self, mixed: Image, half: int, dx: float, dy: float) -> Image:
        n = 2 * half + 1
        out = np.empty((n, n), np.float32)
        work = np.empty((self.oversampling, n, mixed.shape[3]), np.float32)
        sample_table(mixed, dx, dy, self.half, half, 0, 0, out, work)
        return out

    def n_eff(self, x: float, y: float) -> float:
        """Return 1 / sum(P^2) of the stamp at 0-based image place (x, y): pixels of noise of the best fit."""
        stamp = self.stamp(x, y, 2 * self.half + 1).astype(np.float64)
        return float(1 / np.sum(stamp**2))

    def fwhm_at(self, x: float, y: float) -> float:
        """Return the FWHM at 0-based place (x, y), px: diameter of the circle as large as the half peak."""
        fine = self._fine(x, y)
        over = float(np.count_nonzero(fine > fine.max() / 2)) + _edge_share(fine)
        return 2 * math.sqrt(over / math.pi) / FINE_STEPS

    def moments_at(self, x: float, y: float) -> tuple[float, float, float]:
        """Return moments (xx, xy, yy; square px) of the Gaussian that matches the core at a place best."""
        fine = self._fine(x, y)
        half = fine.shape[0] // 2
        u = np.arange(-half, half + 1) / FINE_STEPS
        dx, dy = u[None, :], u[:, None]
        start = (self.fwhm_at(x, y) * SIGMA_OF_FWHM) ** 2
        wanted = np.diag([start, start])
        for _ in range(20):
            inverse = np.linalg.inv(wanted)
            power = inverse[0, 0] * dx * dx + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy * dy
            light = fine * np.exp(-power / 2)
            xx, xy, yy = (float(np.sum(light * part)) for part in (dx * dx, dx * dy, dy * dy))
            found = np.array([[xx, xy], [xy, yy]]) / float(light.sum())
            # The product of two equal Gaussians has half their covariance.
            wanted = np.linalg.inv(np.linalg.inv(found) - inverse)
        return float(wanted[0, 0]), float(wanted[0, 1]), float(wanted[1, 1])

    def _fine(self, x: float, y: float) -> Floats:
        """Return the core at `FINE_STEPS` per pixel, square, the star on its middle."""
        mixed = self.mixed(x, y)
        half = min(self.half, math.ceil(1.5 * NODES_PER_FWHM / self.oversampling) + 1)
        steps, side = mixed.shape[0], mixed.shape[2]
        weights = _fine_weights(steps, side, self.half, half)
        nodes = mixed.transpose(0, 2, 1, 3).reshape(steps * side, steps * side)
        square = (weights @ nodes @ weights.T).astype(np.float64)
        n = 2 * half + 1
        return square[: (n - 1) * FINE_STEPS + 1, : (n - 1) * FINE_STEPS + 1]

    @property
    def _middle(self) -> tuple[float, float]:
        return (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2

    @cached_property
    def fwhm(self) -> float:
        """FWHM in the middle of the image, px."""
        return self.fwhm_at(*self._middle)

    @cached_property
    def _moments(self) -> tuple[float, float, float]:
        return self.moments_at(*self._middle)

    @property
    def elongation(self) -> float:
        """Major over minor axis of the core in the middle of the image, 1 or more."""
        xx, xy, yy = self._moments
        mean, half = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
        return math.sqrt((mean + half) / (mean - half))

    @property
    def angle_deg(self) -> float:
        """Angle of the major axis from +x toward +y in the middle of the image, -90 to 90 degrees."""
        xx, xy, yy = self._moments
        return math.degrees(0.5 * math.atan2(2 * xy, xx - yy))

    def nodes(self) -> Floats:
        """Return the values at the nodes (T, n S, n S), float64: what `from_nodes` takes."""
        c = in_order(self.tables).astype(np.float64)
        for axis in (-1, -2):
            c = np.apply_along_axis(_spline_values, axis, c)
        return c


def _spline_values(c: Floats) -> Floats:
    """Return the values at the nodes of a spline that is mirrored at its ends."""
    padded = np.concatenate([c[1:2], c, c[-2:-1]])
    return (padded[:-2] + 4 * padded[1:-1] + padded[2:]) / 6


def _edge_share(fine: Floats) -> float:
    """Return what counting whole steps above the half peak leaves out or counts too much, in steps.

    Along rows, the crossing between two samples is found by linear interpolation.
    """
    level = fine.max() / 2
    before, after = fine[:, :-1], fine[:, 1:]
    crosses = (before > level) != (after > level)
    high, low = np.maximum(before, after)[crosses], np.minimum(before, after)[crosses]
    return float(np.sum((high - level) / (high - low) - 0.5))


@lru_cache(maxsize=16)
def _fine_weights(steps: int, side: int, reach: int, half: int) -> Image:
    """Return what samples a table finely along an axis, ((2 half + 1) FINE_STEPS, steps side) float32.

    Splines are the same along both axes, so a fine grid is two products of matrices instead of a hundred
    stamps. Columns are rows of a table, phase by phase.
    """
    n = 2 * half + 1
    weights = np.zeros((n, FINE_STEPS, steps, side), np.float32)
    place, weight = np.empty((4, 2), np.int64), np.empty((3, 4), np.float32)
    for fine in range(FINE_STEPS):
        spline_taps(-fine / FINE_STEPS, steps, place, weight)
        for (phase, row), share in zip(place.tolist(), weight[0], strict=True):
            for k in range(n):
                weights[k, fine, phase, reach + MARGIN - half + row + k] += share
    return weights.reshape(n * FINE_STEPS, steps * side)
