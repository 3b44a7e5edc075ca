"""What stars have beyond their first profile: tables fitted to all their pixels by least squares.

The unknowns are the spline coefficients of every polynomial term. Each star is linear in them, so conjugate
gradients solve for all at once; nothing is binned or averaged, and stars at any sub-pixel place count fully.
Unknowns that few stars bear on stay near zero by a prior: a share of the first profile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_splines import MARGIN, mix_tables, sample_table, spline_taps

Image = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StarPixels:
    """Stars as the table sees them.

    Parameters
    ----------
    residual : numpy.ndarray (N, n, n), float32
        Pixels without background and without the first profile, DN.
    weight : numpy.ndarray (N, n, n), float32
        Inverse variance, 0 where unusable.
    flux : numpy.ndarray (N), float64
    shifts : numpy.ndarray (N, 2), float64
        (x, y) from the middle pixel, px.
    terms : numpy.ndarray (N, T), float64
        Polynomial terms at each star's place.
    """

    residual: Image
    weight: Image
    flux: Floats
    shifts: Floats
    terms: Floats


def fit_tables(
    stars: StarPixels, prior_sigma: Image, start: Image, steps: int, tolerance: float = 1e-3
) -> Image:
    """Return the spline coefficients (T, S, S, m, m) float32 that fit the residuals best.

    Parameters
    ----------
    stars : StarPixels
    prior_sigma : numpy.ndarray (T, S, S, m, m), float32
        How far from zero each coefficient may be expected; 0 fixes it there.
    start : numpy.ndarray (T, S, S, m, m), float32
        Coefficients of an earlier round, or zeros.
    steps : int
        Most steps.
    tolerance : float
        Stops when the gradient has fallen so far, relative.
    """
    is_free = prior_sigma > 0
    prior = np.where(is_free, 1 / np.where(is_free, prior_sigma, 1) ** 2, 0).astype(np.float32)
    diagonal = np.zeros_like(start)
    right = np.zeros_like(start)
    pixels = (stars.weight, stars.flux, stars.shifts, stars.terms)
    _gather(stars.residual, *pixels, 1, right)
    _gather(np.ones_like(stars.residual), *pixels, 2, diagonal)
    scale = np.where(is_free, 1 / np.maximum(diagonal + prior, 1e-30), 0).astype(np.float32)

    def product(c: Image) -> Image:
        out = prior * c
        _apply(c, *pixels, out)
        return np.where(is_free, out, np.float32(0))

    c = np.where(is_free, start, np.float32(0))
    gradient = np.where(is_free, right, np.float32(0)) - product(c)
    first = _dot(right * is_free, right * scale)
    direction = scale * gradient
    size = _dot(gradient, direction)
    for _ in range(steps):
        if not size > tolerance**2 * first:
            break
        image = product(direction)
        step = np.float32(size / _dot(direction, image))
        c += step * direction
        gradient -= step * image
        conjugate = scale * gradient
        size, before = _dot(gradient, conjugate), size
        direction = conjugate + np.float32(size / before) * direction
    return c


def _dot(a: Image, b: Image) -> float:
    return float(np.sum(a * b, dtype=np.float64))


@compiled(
    "void(f4[:, ::1], f8, f8, i8, i8, f4[:, :, :, ::1], f4[:, :, ::1])", cache=True, nogil=True, fastmath=True
)
def _spread(stamp: Image, dx: float, dy: float, half: int, power: int, local: Image, work: Image) -> None:
    """Transpose of `sample_table`: spread a stamp over the nodes of a table, taps to a power; overwrites."""
    s, m = local.shape[0], local.shape[2]
    place_x, place_y = np.empty((4, 2), np.int64), np.empty((4, 2), np.int64)
    weight_x, weight_y = np.empty((3, 4), np.float32), np.empty((3, 4), np.float32)
    spline_taps(dx, s, place_x, weight_x)
    spline_taps(dy, s, place_y, weight_y)
    n = 2 * half + 1
    work[:] = 0.0
    local[:] = 0.0
    for k in range(4):
        w = weight_x[0, k] ** power
        start = MARGIN + place_x[k, 1]
        for i in range(n):
            line, part = work[place_x[k, 0], i, start : start + n], stamp[i, :n]
            for j in range(n):
                line[j] += w * part[j]
    for k in range(4):
        w = weight_y[0, k] ** power
        start = MARGIN + place_y[k, 1]
        for q in range(s):
            for i in range(n):
                line, part = local[place_y[k, 0], q, start + i], work[q, i]
                for j in range(m):
                    line[j] += w * part[j]


@compiled(
    "void(f4[:, :, :, ::1], f8[:, ::1], i8, i8, f4[:, :, :, :, ::1])", cache=True, nogil=True, fastmath=True
)
def _add_terms(local: Image, terms: Floats, star: int, power: int, out: Image) -> None:
    flat = local.reshape(local.size)
    for t in range(out.shape[0]):
        w = np.float32(terms[star, t] ** power)
        line = out[t].reshape(local.size)
        for k in range(flat.size):
            line[k] += w * flat[k]


@compiled(
    "void(f4[:, :, ::1], f4[:, :, ::1], f8[::1], f8[:, ::1], f8[:, ::1], i8, f4[:, :, :, :, ::1])",
    cache=True,
    nogil=True,
    fastmath=True,
)
def _gather(
    values: Image, weight: Image, flux: Floats, shifts: Floats, terms: Floats, power: int, out: Image
) -> None:
    """Add the transpose of the stars' model, weighted, to `out`; power 2: the normal matrix's diagonal."""
    s, m = out.shape[1], out.shape[3]
    n = values.shape[1]
    local, work = np.empty((s, s, m, m), np.float32), np.empty((s, n, m), np.float32)
    stamp = np.empty((n, n), np.float32)
    for star in range(values.shape[0]):
        scale = np.float32(flux[star] ** power)
        for i in range(n):
            for j in range(n):
                stamp[i, j] = scale * weight[star, i, j] * values[star, i, j]
        _spread(stamp, shifts[star, 0], shifts[star, 1], n // 2, power, local, work)
        _add_terms(local, terms, star, power, out)


@compiled(
    "void(f4[:, :, :, :, ::1], f4[:, :, ::1], f8[::1], f8[:, ::1], f8[:, ::1], f4[:, :, :, :, ::1])",
    cache=True,
    nogil=True,
    fastmath=True,
)
def _apply(c: Image, weight: Image, flux: Floats, shifts: Floats, terms: Floats, out: Image) -> None:
    """Add the normal matrix times coefficients to `out`."""
    s, m = out.shape[1], out.shape[3]
    n = weight.shape[1]
    half = n // 2
    local, work = np.empty((s, s, m, m), np.float32), np.empty((s, n, m), np.float32)
    stamp = np.empty((n, n), np.float32)
    for star in range(weight.shape[0]):
        mix_tables(c, terms[star], half, local)
        sample_table(local, shifts[star, 0], shifts[star, 1], half, half, 0, 0, stamp, work)
        square = np.float32(flux[star] ** 2)
        for i in range(n):
            for j in range(n):
                stamp[i, j] *= square * weight[star, i, j]
        _spread(stamp, shifts[star, 0], shifts[star, 1], half, 1, local, work)
        _add_terms(local, terms, star, 1, out)
