"""How high a peak is between pixels, where, and what it stands on: compiled.

A matched filter's score is smooth: its values at pixels tell those between. The likelihood of a source at any
place is that of the score there (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27), so the significance of one is
the height of that surface, wherever it is highest. At the highest pixel 2 to 6 % of it are lost on average.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
REACH = 3
"""Pixels around the highest one that its summit is made of."""
MOST_LOSS = 0.2
"""No peak of a star is lower at its highest pixel by more than this share; noise under FWHM 1.8 px may be."""
LEAST_AROUND = 30
"""Pixels of a ring that tell its level."""
_LEAST_SHARE = 0.3  # of the peak: lower neighbours count as so high, logarithms must not run away
_MOST_OFFSET = 0.499  # so that rounding leads back to the pixel


@compiled("f8(f4, f8)", cache=True, nogil=True)
def _log_share(value: float, peak: float) -> float:
    """Return the logarithm of a neighbour over the peak."""
    return math.log(max(value / peak, _LEAST_SHARE))


@compiled("void(f8, f8[::1])", cache=True, nogil=True)
def _weights(offset: float, out: Floats) -> None:
    """Write the weights of a Lanczos-3 interpolation `offset` px from the middle of 7 pixels; sum 1."""
    total = 0.0
    for k in range(2 * REACH + 1):
        t = math.pi * (k - REACH - offset)
        w = 1.0
        if abs(t) >= REACH * math.pi:
            w = 0.0
        elif abs(t) > 1e-6:
            w = REACH * math.sin(t) * math.sin(t / REACH) / (t * t)
        out[k] = w
        total += w
    for k in range(2 * REACH + 1):
        out[k] /= total


@compiled("void(f4[:, ::1], i8, i8, f4, f8[::1])", cache=True, nogil=True)
def _summit_place(score: Image, y: int, x: int, sign: np.float32, out: Floats) -> None:
    """Write where (x, y; px from the pixel) the Gaussian through 3 x 3 pixels around a peak is highest."""
    peak = float(sign * score[y, x])
    left, right = _log_share(sign * score[y, x - 1], peak), _log_share(sign * score[y, x + 1], peak)
    below, above = _log_share(sign * score[y - 1, x], peak), _log_share(sign * score[y + 1, x], peak)
    corners = _log_share(sign * score[y - 1, x - 1], peak) + _log_share(sign * score[y + 1, x + 1], peak)
    corners -= _log_share(sign * score[y - 1, x + 1], peak) + _log_share(sign * score[y + 1, x - 1], peak)
    dx, dy, dxx, dyy, dxy = (
        0.5 * (right - left),
        0.5 * (above - below),
        right + left,
        above + below,
        0.25 * corners,
    )
    determinant = dxx * dyy - dxy * dxy
    out[0], out[1] = 0.0, 0.0
    if determinant > 0.0 and dxx < 0.0:
        out[0] = min(max((dxy * dy - dyy * dx) / determinant, -_MOST_OFFSET), _MOST_OFFSET)
        out[1] = min(max((dxy * dx - dxx * dy) / determinant, -_MOST_OFFSET), _MOST_OFFSET)


@compiled("f8(f4[:, ::1], i8, i8, f4, f8[::1], f8[:, ::1])", cache=True, nogil=True)
def summit(score: Image, y: int, x: int, sign: np.float32, place: Floats, work: Floats) -> float:
    """Return the height of a peak between pixels, and write where it is.

    The place is that of a Gaussian through 3 x 3 pixels. The height is interpolated there (Lanczos-3, 7 x 7
    pixels): it depends on no shape and, unlike the Gaussian, hardly on the noise of single pixels.

    Parameters
    ----------
    score : numpy.ndarray (ny, nx), float32
    y, x : int
        A local maximum of the score times `sign`, above zero.
    sign : 1 or -1
    place : numpy.ndarray (2), float64
        Written: x and y in px from the pixel, up to half a pixel; 0 where a pixel near is unknown.
    work : numpy.ndarray (2, 7), float64

    Returns
    -------
    float
        Never less than at the pixel; that itself where one of 7 x 7 pixels is not finite or beyond the image.
    """
    ny, nx = score.shape
    peak = float(sign * score[y, x])
    place[0], place[1] = 0.0, 0.0
    if not (REACH <= y < ny - REACH and REACH <= x < nx - REACH):
        return peak
    _summit_place(score, y, x, sign, place)
    _weights(place[0], work[0])
    _weights(place[1], work[1])
    total = 0.0
    for i in range(2 * REACH + 1):
        line = 0.0
        for j in range(2 * REACH + 1):
            line += work[0, j] * score[y + i - REACH, x + j - REACH]
        total += work[1, i] * line
    if not math.isfinite(total):
        place[0], place[1] = 0.0, 0.0
        return peak
    return max(peak, float(sign) * total)


@compiled("f8(f4[:, ::1], i8, i8, f4, f8[::1], f8[::1])", cache=True, nogil=True)
def level_around(score: Image, y: int, x: int, sign: np.float32, around: Floats, work: Floats) -> float:
    """Return the level of the sheet of light that a peak stands on; 0 where there is none.

    On a wide sheet all of a ring is bright, at its rim somewhat less than half; beside a star a small part.

    Parameters
    ----------
    score : numpy.ndarray (ny, nx), float32
    y, x : int
    sign : 1 or -1
    around : numpy.ndarray (4), float64
        Radii of the ring, px; what is bright, sigmas; which share of the ring must be. The level is the
        median of what is.
    work : numpy.ndarray (at least the pixels of the ring), float64
    """
    ny, nx = score.shape
    inner, outer, least = around[0], around[1], around[2]
    reach = math.ceil(outer)
    n = bright = 0
    for i in range(max(0, y - reach), min(ny, y + reach + 1)):
        for j in range(max(0, x - reach), min(nx, x + reach + 1)):
            d2 = float((i - y) ** 2 + (j - x) ** 2)
            value = float(sign * score[i, j])
            if inner * inner <= d2 <= outer * outer and math.isfinite(value):
                n += 1
                if value > least:
                    work[bright] = value
                    bright += 1
    return float(np.median(work[:bright])) if n >= LEAST_AROUND and bright >= around[3] * n else 0.0
