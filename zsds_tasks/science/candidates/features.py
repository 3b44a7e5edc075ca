"""What pixels around a candidate tell: sky, aperture fluxes, shape, signs; compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.aperture_circle import circle_sum
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.moments import ellipse_axes, unwindowed, windowed_centre
from zsds_tasks.science.candidates.fit import SKY, SKY_ERROR

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
SIGMA_OF_FWHM = 1 / 2.3548200450309493


@compiled("void(f4[:, ::1], i8, i8, f8, f4[:, ::1])", cache=True, nogil=True)
def cut_stamp(image: Image, y0: int, x0: int, factor: float, out: Image) -> None:
    """Copy the pixels around one, times a factor; NaN beyond the image."""
    ny, nx = image.shape
    half = out.shape[0] // 2
    f = np.float32(factor)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            y, x = y0 + i - half, x0 + j - half
            inside = 0 <= y < ny and 0 <= x < nx
            out[i, j] = f * image[y, x] if inside else np.float32(np.nan)


@compiled("void(f4[:, ::1], f4[:, ::1], f8, f8, f8[::1], f8[::1])", cache=True, nogil=True)
def ring_sky(stamp: Image, sigma: Image, inner: float, outer: float, work: Floats, result: Floats) -> None:
    """Write the level of a stamp in a ring about its middle, clipped at 3 sigma about the median, and error.

    0 with an infinite error where fewer than 20 pixels are known.
    """
    half = stamp.shape[0] // 2
    n, noise = 0, 0.0
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            d2 = float((i - half) ** 2 + (j - half) ** 2)
            if inner * inner <= d2 <= outer * outer and math.isfinite(stamp[i, j]):
                work[n] = stamp[i, j]
                noise += sigma[i, j] ** 2
                n += 1
    if n < 20:
        result[SKY], result[SKY_ERROR] = 0.0, np.inf
        return
    middle, limit = np.median(work[:n]), 3.0 * math.sqrt(noise / n)
    total, used = 0.0, 0
    for k in range(n):
        if abs(work[k] - middle) <= limit:
            total += work[k]
            used += 1
    result[SKY] = total / used if used > 0 else middle
    result[SKY_ERROR] = math.sqrt(noise / n / max(used, 1))


@compiled("void(f4[:, ::1], f8, f8, f8, f4[:, ::1], f8, f8, f8[::1])", cache=True, nogil=True)
def aperture(
    stamp: Image,
    x: float,
    y: float,
    radius: float,
    sigma: Image,
    level: float,
    level_error: float,
    out: Floats,
) -> None:
    """Write flux and error of a circle about (x, y); a level of each pixel and its error are added."""
    noise, area = 0.0, math.pi * radius * radius
    out[0] = circle_sum(stamp, x, y, radius) + area * level
    n = 0
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            if (j - x) ** 2 + (i - y) ** 2 <= radius * radius:
                noise += float(sigma[i, j]) ** 2
                n += 1
    out[1] = math.sqrt(noise * area / max(n, 1) + (area * level_error) ** 2)


@compiled("void(f4[:, ::1], f8, f8, f8, f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
def shape_of(
    stamp: Image, x: float, y: float, psf_sigma: float, weight: Floats, sums: Floats, out: Floats
) -> None:
    """Write major and minor axis under a window as wide as the source, and the FWHM of the matching Gaussian.

    The axes are those of light times window, as issued packets have them: of a Gaussian 0.71 of its own, and
    an elongation e seems about its root.

    Parameters
    ----------
    stamp : numpy.ndarray (SIDE, SIDE), float32
        Finite.
    x, y : float
        In the stamp, px.
    psf_sigma : float
        Of the window, px.
    weight, sums : numpy.ndarray, float64
        Scratch: (SIDE), (6).
    out : numpy.ndarray (3), float64
    """
    width = psf_sigma
    for _ in range(5):
        windowed_centre(stamp, x, y, width, 1.5, weight, sums)
        xx, yy, _ = unwindowed(sums, width)
        width = min(max(math.sqrt(0.5 * (xx + yy)), 0.5 * psf_sigma), 5.0)
    windowed_centre(stamp, x, y, width, 1.5, weight, sums)
    light = sums[0]
    if light > 0:
        out[0], out[1], _ = ellipse_axes(sums[3] / light, sums[4] / light, sums[5] / light)
    else:
        out[0], out[1] = width, width
    out[2] = width / SIGMA_OF_FWHM


@compiled("void(f4[:, ::1], f8[::1])", cache=True, nogil=True)
def small_box(stamp: Image, out: Floats) -> None:
    """Write how many pixels of the 5 x 5 around the middle are negative, and sum over sum of absolutes.

    The latter after a median filter of 3 x 3: 1 if all are positive, about 0 for a dipole.
    """
    half = stamp.shape[0] // 2
    box = np.empty(9)
    negative, total, absolute = 0, 0.0, 0.0
    for i in range(half - 2, half + 3):
        for j in range(half - 2, half + 3):
            if stamp[i, j] < 0:
                negative += 1
            n = 0
            for p in range(i - 1, i + 2):
                for q in range(j - 1, j + 2):
                    if math.isfinite(stamp[p, q]):
                        box[n] = stamp[p, q]
                        n += 1
            if n > 0:
                value = np.median(box[:n])
                total += value
                absolute += abs(value)
    out[0] = negative
    out[1] = total / absolute if absolute > 0 else 0.0


@compiled("void(f4[:, ::1], i8, i8, f8, f8, f8, f8[::1])", cache=True, nogil=True)
def opposite(score: Image, y0: int, x0: int, sign: float, peak: float, radius: float, out: Floats) -> None:
    """Write the deepest score of the other sign within a circle, over the peak, and how far away it is.

    0 and NaN where there is none.
    """
    ny, nx = score.shape
    r = math.ceil(radius)
    deepest, away = 0.0, np.nan
    for y in range(max(0, y0 - r), min(ny, y0 + r + 1)):
        for x in range(max(0, x0 - r), min(nx, x0 + r + 1)):
            d2 = float((y - y0) ** 2 + (x - x0) ** 2)
            value = -sign * score[y, x]
            if d2 <= radius * radius and value > deepest:
                deepest, away = value, math.sqrt(d2)
    out[0], out[1] = deepest / peak, away
