"""A Moffat profile fitted to many stars at once, its shape a polynomial in place.

It is what the tables of a PSF start from, and what they fall back to where stars say little: in the wings,
and between few stars. Being smooth it fixes how much light the wings hold better than free tables would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
ITERATIONS = 30
MODEL_ERROR = 0.03  # what a Moffat profile is off by, of itself: keeps the brightest star from ruling the fit
CLIP_SIGMA = 4.0
CLIP_MODEL_ERROR = 0.2
SHAPE, LOCAL = 4, 4
SLOPE_RANGE = (1.3, 12.0)
SLOPE_START = 3.0
CLIPPED_FROM = 3  # step
REACH_FWHM, LEAST_REACH = 3.0, 4.0  # of a guessed FWHM, and px: pixels further out say little of the shape


@dataclass(frozen=True)
class Moffat:
    """Light (1 + a dx^2 + 2 b dx dy + c dy^2)^-beta, not normalised; a, b and c are polynomials in place.

    Parameters
    ----------
    shape : numpy.ndarray (3, T), float64
        Coefficients of a, b and c (px^-2) of the terms of `psf_splines.terms_at`.
    beta : float
    """

    shape: Floats
    beta: float

    @property
    def fwhm(self) -> float:
        """Geometric mean of the FWHM of both axes in the middle of the image, px."""
        a, b, c = self.shape[:, 0]
        return 2 * math.sqrt((2 ** (1 / self.beta) - 1) / math.sqrt(a * c - b * b))

    def at(self, terms: Floats, dx: Floats, dy: Floats) -> Floats:
        """Return the light at offsets (px) from a star at a place given by its polynomial terms (T)."""
        a, b, c = self.shape @ terms
        return np.asarray((1 + np.maximum(a * dx * dx + 2 * b * dx * dy + c * dy * dy, 0)) ** -self.beta)


def fit_moffat(
    stamps: Image, shifts: Floats, noise: Floats, gain: float, terms: Floats, start: Moffat | float
) -> tuple[Moffat, Floats]:
    """Fit one profile to stars, each with its own brightness, place and background.

    Parameters
    ----------
    stamps : numpy.ndarray (N, n, n), float32
        Stars close to the middle pixel, DN; NaN where unusable.
    shifts : numpy.ndarray (N, 2), float64
        Guess of (x, y) from the middle pixel, px.
    noise : numpy.ndarray (N), float64
        Of the sky, DN per pixel.
    gain : float
        Electrons per DN.
    terms : numpy.ndarray (N, T), float64
        Polynomial terms at the stars; one column of ones for a profile that is the same everywhere.
    start : Moffat or float
        Where to start from: a profile of as many terms or fewer, or a FWHM in px.

    Returns
    -------
    profile : Moffat
    shifts : numpy.ndarray (N, 2), float64
        Of the stars, as fitted.
    """
    n, n_terms = len(stamps), terms.shape[1]
    middle = stamps.shape[1] // 2
    width = start.fwhm if isinstance(start, Moffat) else start
    reach = min(float(middle), max(LEAST_REACH, REACH_FWHM * width))
    core = slice(middle - 1, middle + 2)
    peaks = np.max(np.nan_to_num(stamps[:, core, core]), axis=(1, 2))
    shape, local = (
        _start_vector(start, n_terms),
        np.column_stack([np.maximum(peaks, 1e-3), np.zeros(n), shifts]),
    )
    equations = _Equations(*(np.empty((n, *size)) for size in ((4, 4), (4,), (4, 4), (4,))))
    cost, damping, kept = np.inf, 1e-3, (shape, local, equations)
    for number in range(ITERATIONS):
        trial = equations.like()
        is_clipped = number >= CLIPPED_FROM
        now = _accumulate(stamps, noise, gain, reach, _at(shape, terms), local, is_clipped, *trial.parts)
        # When clipping starts, costs before and after do not compare.
        if now <= cost or number == CLIPPED_FROM:
            is_done = number > CLIPPED_FROM + 1 and cost - now < 1e-4 * cost
            cost, kept, damping = now, (shape, local, trial), max(damping / 10, 1e-6)
            if is_done:
                break
        else:
            damping *= 10
            if damping > 1e4:
                break
        shape, local = _stepped(*kept, terms, damping)
    shape, local, _ = kept
    return Moffat(shape[:-1].reshape(3, n_terms), float(shape[-1])), local[:, 2:].copy()


@dataclass(frozen=True)
class _Equations:
    """Normal equations of every star's shape, own parameters eliminated; how these follow a step of it."""

    normal: Floats
    right: Floats
    mixed: Floats
    change: Floats

    @property
    def parts(self) -> tuple[Floats, Floats, Floats, Floats]:
        return self.normal, self.right, self.mixed, self.change

    def like(self) -> _Equations:
        return _Equations(*(np.empty_like(part) for part in self.parts))


def _at(shape: Floats, terms: Floats) -> Floats:
    """Return a, b, c and beta (N, 4) at each star."""
    polynomials = shape[:-1].reshape(3, terms.shape[1])
    return np.column_stack([terms @ polynomials.T, np.full(len(terms), shape[-1])])


def _stepped(
    shape: Floats, local: Floats, equations: _Equations, terms: Floats, damping: float
) -> tuple[Floats, Floats]:
    """Return shape and stars' own parameters after a damped Gauss-Newton step of both."""
    matrix, side = _expanded(equations.normal, equations.right, terms)
    step = np.linalg.solve(matrix + damping * np.diag(np.diag(matrix)), side)
    new = _inside(shape, shape + step, terms.shape[1])
    at_stars = _at(new, terms) - _at(shape, terms)
    own = equations.change - np.einsum("npq,nq->np", equations.mixed, at_stars)
    own[:, 2:] = np.clip(own[:, 2:], -0.3, 0.3)
    moved = local + own
    moved[:, 0] = np.maximum(moved[:, 0], np.maximum(0.3 * local[:, 0], 1e-3))
    moved[:, 2:] = np.clip(moved[:, 2:], -1.5, 1.5)
    return new, moved


def _start_vector(start: Moffat | float, n_terms: int) -> Floats:
    """Return a, b, c of every term, then beta."""
    vector = np.zeros((3, n_terms))
    if isinstance(start, Moffat):
        vector[:, : start.shape.shape[1]] = start.shape
        beta = start.beta
    else:
        beta = SLOPE_START
        vector[[0, 2], 0] = (2 ** (1 / beta) - 1) / (start / 2) ** 2
    return np.append(vector.ravel(), beta)


def _expanded(normal: Floats, right: Floats, terms: Floats) -> tuple[Floats, Floats]:
    """Turn normal equations of each star's own a, b, c, beta into those of the polynomials and beta."""
    n_terms = terms.shape[1]
    size = 3 * n_terms + 1
    matrix, side = np.zeros((size, size)), np.empty(size)
    block = np.einsum("npq,nt,ns->ptqs", normal[:, :3, :3], terms, terms)
    matrix[:-1, :-1] = block.reshape(size - 1, size - 1)
    matrix[:-1, -1] = matrix[-1, :-1] = np.einsum("np,nt->pt", normal[:, :3, 3], terms).ravel()
    matrix[-1, -1] = normal[:, 3, 3].sum()
    side[:-1] = np.einsum("np,nt->pt", right[:, :3], terms).ravel()
    side[-1] = right[:, 3].sum()
    return matrix, side


def _inside(old: Floats, new: Floats, n_terms: int) -> Floats:
    """Return a step that keeps the profile a profile: widths change by a factor, beta stays in its range."""
    new = new.copy()
    a, b, c = (k * n_terms for k in range(3))
    for k in (a, c):
        new[k] = min(max(new[k], 0.4 * old[k]), 2.5 * old[k])
    limit = 0.8 * math.sqrt(new[a] * new[c])
    new[b] = min(max(new[b], -limit), limit)
    size = math.sqrt(new[a] * new[c])
    varying = np.ones(3 * n_terms, np.bool_)
    varying[[a, b, c]] = False
    new[:-1][varying] = np.clip(new[:-1][varying], -0.3 * size, 0.3 * size)
    new[-1] = min(max(new[-1], old[-1] / 1.5, SLOPE_RANGE[0]), old[-1] * 1.5, SLOPE_RANGE[1])
    return new


@compiled(
    "void(f4[:, ::1], f8, f8, f8, f8[::1], f8[::1], b1, f8[:, ::1], f8[::1], f8[::1])", cache=True, nogil=True
)
def _sum_star(
    stamp: Image,
    noise: float,
    gain: float,
    reach: float,
    shape: Floats,
    own: Floats,
    is_clipped: bool,
    full: Floats,
    side: Floats,
    cost: Floats,
) -> None:
    """Sum the normal equations of one star's own parameters and its shape; add to cost and pixel count."""
    a, b, c, beta = shape[0], shape[1], shape[2], shape[3]
    n = stamp.shape[0]
    middle = n // 2
    column = np.empty(LOCAL + SHAPE)
    full[:] = 0.0
    side[:] = 0.0
    for i in range(n):
        for j in range(n):
            value = stamp[i, j]
            dx, dy = j - middle - own[2], i - middle - own[3]
            if not math.isfinite(value) or dx * dx + dy * dy > reach * reach:
                continue
            base = 1.0 + max(a * dx * dx + 2.0 * b * dx * dy + c * dy * dy, 0.0)
            log_base = math.log(base)
            light = math.exp(-beta * log_base)
            model = own[0] * light
            r = value - own[1] - model
            variance = noise * noise + max(model, 0.0) / gain
            w = 1.0 / (variance + (MODEL_ERROR * model) ** 2)
            cost[1] += 1.0
            if is_clipped and r * r > CLIP_SIGMA**2 * (variance + (CLIP_MODEL_ERROR * model) ** 2):
                cost[0] += CLIP_SIGMA**2
                continue
            slope = -beta * model / base
            column[0], column[1] = light, 1.0
            column[2] = -slope * 2.0 * (a * dx + b * dy)
            column[3] = -slope * 2.0 * (b * dx + c * dy)
            column[4], column[5], column[6] = slope * dx * dx, slope * 2.0 * dx * dy, slope * dy * dy
            column[7] = -model * log_base
            cost[0] += w * r * r
            for p in range(LOCAL + SHAPE):
                side[p] += w * column[p] * r
                for q in range(p + 1):
                    full[p, q] += w * column[p] * column[q]
    for p in range(LOCAL + SHAPE):
        for q in range(p):
            full[q, p] = full[p, q]
    for p in range(LOCAL):
        full[p, p] = full[p, p] * (1.0 + 1e-6) + 1e-12


@compiled(
    "f8(f4[:, :, ::1], f8[::1], f8, f8, f8[:, ::1], f8[:, ::1], b1, f8[:, :, ::1], f8[:, ::1], "
    "f8[:, :, ::1], f8[:, ::1])",
    cache=True,
    nogil=True,
)
def _accumulate(
    stamps: Image,
    noise: Floats,
    gain: float,
    reach: float,
    shapes: Floats,
    local: Floats,
    is_clipped: bool,
    normal: Floats,
    right: Floats,
    mixed: Floats,
    change: Floats,
) -> float:
    """Write each star's equations, see `_Equations`; return the mean of clipped squared residuals."""
    cost = np.zeros(2)
    full, side = np.empty((LOCAL + SHAPE, LOCAL + SHAPE)), np.empty(LOCAL + SHAPE)
    for star in range(stamps.shape[0]):
        own = local[star]
        _sum_star(stamps[star], noise[star], gain, reach, shapes[star], own, is_clipped, full, side, cost)
        corner = full[:LOCAL, :LOCAL].copy()
        mixed[star] = np.linalg.solve(corner, full[:LOCAL, LOCAL:].copy())
        change[star] = np.linalg.solve(corner, side[:LOCAL].copy())
        for p in range(SHAPE):
            right[star, p] = side[LOCAL + p]
            for k in range(LOCAL):
                right[star, p] -= full[LOCAL + p, k] * change[star, k]
            for q in range(SHAPE):
                normal[star, p, q] = full[LOCAL + p, LOCAL + q]
                for k in range(LOCAL):
                    normal[star, p, q] -= full[LOCAL + p, k] * mixed[star, k, q]
    return cost[0] / max(cost[1], 1.0)
