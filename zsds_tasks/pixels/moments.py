"""First and second moments of sources: over the pixels of each, and under a Gaussian window; compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image
from zsds_tasks.pixels.segmentation_scan import Indexes, Mask

Floats = NDArray[np.float64]
ISO_COLUMNS = ("x", "y", "xx", "yy", "xy", "flux", "peak", "at_edge", "or_mask", "unusable")
"""Of `isophotal_moments`: 0-based px, px^2, image unit; 1 if a pixel lies on the image's border; pixels."""
PIXEL_VARIANCE = 1.0 / 12.0
NARROWEST = 0.02
"""Least variance of a source along an axis, px^2."""
WIDEST = 0.9
"""Largest measured variance in units of the window's: beyond, the source is as wide as can be said."""
ROUNDS = 30
"""Of the search for a centre: across a source much narrower than its window the error falls slowly."""
UNUSABLE_SHARE = 0.1
"""Of a source's pixels: with more, its moments are those of the area."""


@njit(cache=True)
def _add(sums: Floats, weight: float, dx: float, dy: float) -> None:
    sums[0] += weight
    sums[1] += weight * dx
    sums[2] += weight * dy
    sums[3] += weight * dx * dx
    sums[4] += weight * dy * dy
    sums[5] += weight * dx * dy


@compiled(
    "void(f4[:, ::1], u2[:, ::1], u2, i4[::1], i4[::1], f8[:, ::1])",
    cache=True,
    nogil=True,
)
def isophotal_moments(
    image: Image, mask: Mask, bits: np.uint16, pixels: Indexes, first: Indexes, out: Floats
) -> None:
    """Measure the pixels of each source, weighted by their light.

    Parameters
    ----------
    image, mask : numpy.ndarray (ny, nx)
    bits : uint16
        Pixels with one of these count in area and mask but carry no light.
    pixels, first : numpy.ndarray
        See `zsds_tasks.pixels.segmentation.Segmentation`.
    out : numpy.ndarray (N, 10), float64
        Written; see `ISO_COLUMNS`. The variances hold at least that of one pixel. Without any light the
        moments are those of the area.
    """
    ny, nx = image.shape
    for k in range(len(first) - 1):
        lo, hi = first[k], first[k + 1]
        y0, x0 = pixels[lo] // nx, pixels[lo] % nx
        s = np.zeros(6)
        area = np.zeros(6)
        peak, at_edge, or_mask, unusable = -np.inf, 0.0, np.uint16(0), 0
        for i in range(lo, hi):
            y, x = pixels[i] // nx, pixels[i] % nx
            if y == 0 or x == 0 or y == ny - 1 or x == nx - 1:
                at_edge = 1.0
            or_mask |= mask[y, x]
            dx, dy = float(x - x0), float(y - y0)
            value = image[y, x]
            light = max(value, np.float32(0))
            if (mask[y, x] & bits) != 0 or not math.isfinite(value):
                unusable += 1
                light = np.float32(0)
            elif value > peak:
                peak = value
            _add(s, float(light), dx, dy)
            _add(area, 1.0, dx, dy)
        flux = s[0]
        # A saturated core carries no light: its area says where the source is.
        if flux <= 0 or unusable > UNUSABLE_SHARE * (hi - lo):
            s = area
        mx, my = s[1] / s[0], s[2] / s[0]
        xx, yy, xy = s[3] / s[0] - mx * mx, s[4] / s[0] - my * my, s[5] / s[0] - mx * my
        if (xx + PIXEL_VARIANCE) * (yy + PIXEL_VARIANCE) - xy * xy < PIXEL_VARIANCE**2 or min(xx, yy) <= 0:
            xx, yy = xx + PIXEL_VARIANCE, yy + PIXEL_VARIANCE
        out[k, 0], out[k, 1] = x0 + mx, y0 + my
        out[k, 2], out[k, 3], out[k, 4] = xx, yy, xy
        out[k, 5], out[k, 6] = flux, peak
        out[k, 7], out[k, 8], out[k, 9] = at_edge, float(or_mask), float(unusable)


@compiled("UniTuple(f8, 3)(f8, f8, f8)", cache=True, nogil=True)
def ellipse_axes(xx: float, yy: float, xy: float) -> tuple[float, float, float]:
    """Return major and minor axis (root of the variances along them) and the angle from +x toward +y, rad."""
    middle, half = 0.5 * (xx + yy), math.hypot(0.5 * (xx - yy), xy)
    angle = 0.5 * math.atan2(2 * xy, xx - yy)
    return math.sqrt(max(middle + half, NARROWEST)), math.sqrt(max(middle - half, NARROWEST)), angle


@compiled("f8(f4[:, ::1], f8, f8, f8, f8[::1], f8[::1])", cache=True, nogil=True)
def _window_sums(stamp: Image, x: float, y: float, sigma: float, weight_x: Floats, sums: Floats) -> float:
    """Set the windowed sums of light times 1, dx, dy, dx^2, dy^2, dx dy of a stamp; return the first."""
    reach = 4.0 * sigma
    u0, u1 = max(math.ceil(x - reach), 0), min(math.floor(x + reach), stamp.shape[1] - 1)
    factor = -0.5 / (sigma * sigma)
    for u in range(u0, u1 + 1):
        weight_x[u] = math.exp(factor * (u - x) ** 2)
    sums[:] = 0
    for v in range(max(math.ceil(y - reach), 0), min(math.floor(y + reach), stamp.shape[0] - 1) + 1):
        dy = v - y
        p0, p1, p2 = 0.0, 0.0, 0.0
        for u in range(u0, u1 + 1):
            value, dx = weight_x[u] * stamp[v, u], u - x
            p0 += value
            p1 += value * dx
            p2 += value * dx * dx
        w = math.exp(factor * dy * dy)
        sums[0] += w * p0
        sums[1] += w * p1
        sums[2] += w * dy * p0
        sums[3] += w * p2
        sums[4] += w * dy * dy * p0
        sums[5] += w * dy * p1
    return sums[0]


@compiled("UniTuple(f8, 2)(f4[:, ::1], f8, f8, f8, f8, f8[::1], f8[::1])", cache=True, nogil=True)
def windowed_centre(
    stamp: Image, x: float, y: float, sigma: float, most: float, weight_x: Floats, sums: Floats
) -> tuple[float, float]:
    """Return the centre where the first moments under a Gaussian window about it vanish.

    Parameters
    ----------
    stamp : numpy.ndarray (ny, nx), float32
    x, y : float
        Where to begin, 0-based in the stamp, px. It is the answer if the search leaves it by over `most` px.
    sigma : float
        Of the window, px.
    most : float
    weight_x : numpy.ndarray (>= nx), float64
        Scratch.
    sums : numpy.ndarray (6), float64
        Windowed sums, of the last round.
    """
    cx, cy = x, y
    for _ in range(ROUNDS):
        light = _window_sums(stamp, cx, cy, sigma, weight_x, sums)
        if not light > 0:
            return x, y
        # A Gaussian of the window's own width moves the moment by half the error: hence the factor.
        dx, dy = 2.0 * sums[1] / light, 2.0 * sums[2] / light
        cx, cy = cx + dx, cy + dy
        if abs(cx - x) > most or abs(cy - y) > most:
            return x, y
        if dx * dx + dy * dy < 1e-7:
            break
    return cx, cy


@compiled("UniTuple(f8, 3)(f8[::1], f8)", cache=True, nogil=True)
def unwindowed(sums: Floats, sigma: float) -> tuple[float, float, float]:
    """Return the variances xx, yy, xy of a source from its windowed sums: right for a Gaussian source.

    Under a window of variance w the inverse of a Gaussian's covariance grows by 1 / w: that is taken back.
    """
    w = sigma * sigma
    if not sums[0] > 0:
        return NARROWEST, NARROWEST, 0.0
    xx, yy, xy = sums[3] / sums[0] / w, sums[4] / sums[0] / w, sums[5] / sums[0] / w
    middle, half = 0.5 * (xx + yy), math.hypot(0.5 * (xx - yy), xy)
    low, high = NARROWEST / w / (1 + NARROWEST / w), WIDEST
    big, small = min(max(middle + half, low), high), min(max(middle - half, low), high)
    big, small = w * big / (1 - big), w * small / (1 - small)
    cosine, sine = (0.5 * (xx - yy) / half, xy / half) if half > 0 else (0.0, 0.0)
    middle, half = 0.5 * (big + small), 0.5 * (big - small)
    return middle + half * cosine, middle - half * cosine, half * sine
