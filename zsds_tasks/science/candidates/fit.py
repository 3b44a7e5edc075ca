"""Fit of a point source to a stamp of a difference image: compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_splines import sample_table

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
HALF = 15
"""Half side of the stamps measured, px: the sky ring lies inside."""
SIDE = 2 * HALF + 1
ROUNDS = 6
MOST_STEP = 0.5
OFFSET_X, OFFSET_Y, FLUX, FLUX_ERROR, X_ERROR, Y_ERROR, CHI, SKY, SKY_ERROR = range(9)
FIT_COLUMNS = 9
"""Of `fit_star`: centre in the stamp and flux, their errors, reduced chi square, sky; px and DN."""


@compiled("b1(f8[:, ::1], f8[::1])", cache=True, nogil=True)
def _solve3(a: Floats, b: Floats) -> bool:
    """Solve a symmetric 3 x 3 system in place by elimination; False if it is not determined."""
    for k in range(3):
        if not a[k, k] > 1e-30:
            return False
        for i in range(k + 1, 3):
            f = a[i, k] / a[k, k]
            for j in range(k, 3):
                a[i, j] -= f * a[k, j]
            b[i] -= f * b[k]
    for k in (2, 1, 0):
        for j in range(k + 1, 3):
            b[k] -= a[k, j] * b[j]
        b[k] /= a[k, k]
    return True


@compiled("void(f4[:, ::1], f4[:, :, ::1], f8[::1], f8, i8, f8, f8[:, ::1], f8[::1])", cache=True, nogil=True)
def _equations(
    stamp: Image,
    parts: Image,
    place: Floats,
    radius: float,
    size: int,
    flux: float,
    normal: Floats,
    right: Floats,
) -> None:
    """Write the normal equations of a step of flux, x and y about a flux at a place."""
    dx, dy = place[OFFSET_X], place[OFFSET_Y]
    j0, i0 = round(dx), round(dy)
    normal[:], right[:] = 0.0, 0.0
    for i in range(2 * size + 1):
        for j in range(2 * size + 1):
            u, v = j - size + j0, i - size + i0
            row, column = v + HALF, u + HALF
            if (u - dx) ** 2 + (v - dy) ** 2 > radius * radius or not math.isfinite(stamp[row, column]):
                continue
            p, px, py = parts[0, i, j], flux * parts[1, i, j], flux * parts[2, i, j]
            rest = stamp[row, column] - flux * p
            normal[0, 0] += p * p
            normal[0, 1] += p * px
            normal[0, 2] += p * py
            normal[1, 1] += px * px
            normal[1, 2] += px * py
            normal[2, 2] += py * py
            right[0] += p * rest
            right[1] += px * rest
            right[2] += py * rest
    normal[1, 0], normal[2, 0], normal[2, 1] = normal[0, 1], normal[0, 2], normal[1, 2]


@compiled("void(f4[:, ::1], f4[:, ::1], f8, i8, f8[::1], f4[:, :, ::1])", cache=True, nogil=True)
def _judge_fit(stamp: Image, sigma: Image, radius: float, size: int, result: Floats, parts: Image) -> None:
    """Write errors and reduced chi square of a fit whose PSF is in `parts`."""
    dx, dy, flux = result[OFFSET_X], result[OFFSET_Y], result[FLUX]
    j0, i0 = round(dx), round(dy)
    sums, noisy = np.zeros(3), np.zeros(3)
    light = chi2 = used = 0.0
    for i in range(2 * size + 1):
        for j in range(2 * size + 1):
            u, v = j - size + j0, i - size + i0
            row, column = v + HALF, u + HALF
            if (u - dx) ** 2 + (v - dy) ** 2 > radius * radius or not math.isfinite(stamp[row, column]):
                continue
            variance = float(sigma[row, column]) ** 2
            for k in range(3):
                square = float(parts[k, i, j]) ** 2
                sums[k] += square
                noisy[k] += square * variance
            light += parts[0, i, j]
            chi2 += (stamp[row, column] - flux * parts[0, i, j]) ** 2 / max(variance, 1e-30)
            used += 1.0
    for k in range(3):
        result[FLUX_ERROR + k] = math.sqrt(noisy[k]) / sums[k] if sums[k] > 0 else np.inf
    if sums[0] > 0:
        result[FLUX_ERROR] = math.hypot(result[FLUX_ERROR], result[SKY_ERROR] * light / sums[0])
    for k in (1, 2):
        result[FLUX_ERROR + k] /= max(abs(flux), 1e-30)
    result[CHI] = chi2 / max(used - 3.0, 1.0)


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[:, :, :, ::1], f8, i8, f8, f8[::1], f4[:, :, ::1], f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def fit_star(
    stamp: Image,
    sigma: Image,
    table: Image,
    radius: float,
    half: int,
    roam: float,
    result: Floats,
    parts: Image,
    work: Image,
) -> None:
    """Fit flux and place of a PSF to a stamp without its sky, all pixels alike: D's noise is white.

    Weights that followed the light would make bright ones too faint. The errors use each pixel's own noise.

    Parameters
    ----------
    stamp, sigma : numpy.ndarray (SIDE, SIDE), float32
        Sky subtracted, NaN where unusable; 1 sigma of each pixel.
    table : numpy.ndarray (S, S, n, n), float32
        The PSF; see `psf_splines`.
    radius : float
        Of the pixels fitted, px.
    half : int
        Half side of the PSF's stamp.
    roam : float
        Farthest from where it begins, along each axis, px.
    result : numpy.ndarray (FIT_COLUMNS), float64
        `OFFSET_X` and `OFFSET_Y` from the middle hold where to begin; all but the sky is written.
    parts : numpy.ndarray (3, n, n), float32
        Becomes the PSF and its derivatives along x and y.
    work : numpy.ndarray (S, n, n), float32
    """
    size = min(half, math.ceil(radius) + 1)
    start_x, start_y = result[OFFSET_X], result[OFFSET_Y]
    normal, right = np.empty((3, 3)), np.empty(3)
    flux = 0.0
    for turn in range(ROUNDS + 1):
        dx, dy = result[OFFSET_X], result[OFFSET_Y]
        j0, i0 = round(dx), round(dy)
        for k in range(3):
            sample_table(table, dx - j0, dy - i0, half, size, int(k == 1), int(k == 2), parts[k], work)
        pp = pr = 0.0
        for i in range(2 * size + 1):
            for j in range(2 * size + 1):
                u, v = j - size + j0, i - size + i0
                row, column = v + HALF, u + HALF
                if (u - dx) ** 2 + (v - dy) ** 2 > radius * radius or not math.isfinite(stamp[row, column]):
                    continue
                p = parts[0, i, j]
                pp += p * p
                pr += p * stamp[row, column]
        if not pp > 0:
            break
        # The flux is linear: it is taken anew at each place, and the step is taken about it.
        flux = pr / pp
        if turn == ROUNDS:
            break
        _equations(stamp, parts, result, radius, size, flux, normal, right)
        if not flux > 0 or not _solve3(normal, right):
            break
        step_x = min(max(right[1], -MOST_STEP), MOST_STEP)
        step_y = min(max(right[2], -MOST_STEP), MOST_STEP)
        result[OFFSET_X] = min(max(dx + step_x, start_x - roam), start_x + roam)
        result[OFFSET_Y] = min(max(dy + step_y, start_y - roam), start_y + roam)
        if abs(result[OFFSET_X] - dx) + abs(result[OFFSET_Y] - dy) < 1e-4:
            break
    result[FLUX] = flux
    _judge_fit(stamp, sigma, radius, size, result, parts)
