"""Draw light on an image: Gaussians, trails, rings. Compiled kernels, arrays in and out.

Positions are 0-based array coordinates: the centre of image[row, column] is (column, row). Everything adds to
the image, and whatever falls beside it is left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.simulator.products import Floats

Image = NDArray[np.float32]
LEAST_SIGMAS_SQUARED = 16.0  # what lies beyond 4 sigma is 3e-4 of a Gaussian's flux
MOST_SIGMAS_SQUARED = 60.0


@compiled("void(f4[:, ::1], f8, f8, f8, f8, f8, f8, f8)", cache=True, fastmath=True)
def add_gaussian(
    image: Image, x: float, y: float, flux: float, xx: float, xy: float, yy: float, threshold: float
) -> None:
    """Add one elliptical Gaussian of covariance (xx, xy, yy), out to where it falls under `threshold`.

    Along a row exp(-a t^2 / 2) is stepped by its ratio, itself stepped by exp(-a): two multiplications per
    pixel instead of an exponential.
    """
    det = xx * yy - xy * xy
    peak = flux / (2.0 * math.pi * math.sqrt(det))
    n2 = 2.0 * math.log(max(peak / threshold, 1.0))
    n2 = min(max(n2, LEAST_SIGMAS_SQUARED), MOST_SIGMAS_SQUARED)
    a, skew = yy / det, xy / yy
    reach = math.sqrt(n2 * yy)
    decay = math.exp(-a)
    first = max(0, math.ceil(y - reach))
    last = min(image.shape[0] - 1, math.floor(y + reach))
    for row in range(first, last + 1):
        dy = row - y
        ridge = x + skew * dy
        left2 = n2 - dy * dy / yy
        half = math.sqrt(max(left2, 0.0) / a)
        left = max(0, math.ceil(ridge - half))
        right = min(image.shape[1] - 1, math.floor(ridge + half))
        if left > right:
            continue
        middle = min(max(round(ridge), left), right)
        t = middle - ridge
        start = peak * math.exp(-0.5 * (dy * dy / yy + a * t * t))
        value, step = start, math.exp(-a * (t + 0.5))
        for column in range(middle, right + 1):
            image[row, column] += np.float32(value)
            value *= step
            step *= decay
        step = math.exp(a * (t - 0.5))
        value = start * step
        step *= decay
        for column in range(middle - 1, left - 1, -1):
            image[row, column] += np.float32(value)
            value *= step
            step *= decay


@compiled(
    "void(f4[:, ::1], f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, f8)", cache=True, fastmath=True
)
def add_sources(
    image: Image,
    table: Floats,
    psf_weight: Floats,
    psf_variance: Floats,
    profile_weight: Floats,
    profile_variance: Floats,
    pixel_variance: float,
    smallest_variance: float,
    threshold: float,
) -> None:
    """Add every source: each PSF component convolved with each component of the source's own profile.

    Parameters
    ----------
    image : (ny, nx) float32
        Electrons.
    table : (N, 9) float64
        x, y, electrons, PSF tensor (xx, xy, yy) and profile tensor (xx, xy, yy), square pixels.
    psf_weight, psf_variance : (K) float64
        PSF mixture.
    profile_weight, profile_variance : (J) float64
        Mixture of the source's profile; one component of variance 0 for points.
    pixel_variance, smallest_variance : float
        Added to each component; least variance of one (square pixels).
    threshold : float
        Electrons per pixel under which a component is no longer drawn.
    """
    for i in range(table.shape[0]):
        for k in range(psf_weight.size):
            base = psf_variance[k]
            for j in range(profile_weight.size):
                own = profile_variance[j]
                xx = base * table[i, 3] + own * table[i, 6] + pixel_variance
                xy = base * table[i, 4] + own * table[i, 7]
                yy = base * table[i, 5] + own * table[i, 8] + pixel_variance
                xx = max(xx, smallest_variance)
                yy = max(yy, smallest_variance)
                flux = table[i, 2] * psf_weight[k] * profile_weight[j]
                add_gaussian(image, table[i, 0], table[i, 1], flux, xx, xy, yy, threshold)


@compiled("void(f4[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1], f8)", cache=True, fastmath=True)
def add_trail(
    image: Image, ends: Floats, weight: Floats, variance: Floats, light: Floats, threshold: float
) -> None:
    """Add a straight trail from (x0, y0) to (x1, y1).

    Parameters
    ----------
    image : (ny, nx) float32
        Electrons.
    ends : (4) float64
        x0, y0, x1, y1.
    weight, variance : (K) float64
        Profile across the trail.
    light : (3) float64
        Electrons per pixel of length, modulation (0 to 1) and its period in pixels (0: none).
    threshold : float
        Electrons per pixel under which the profile is no longer drawn.
    """
    x0, y0 = ends[0], ends[1]
    dx, dy = ends[2] - x0, ends[3] - y0
    length = math.hypot(dx, dy)
    if length == 0.0:
        return
    dx, dy = dx / length, dy / length
    reach = 0.0
    for k in range(weight.size):
        peak = light[0] * (1 + light[1]) * weight[k] / math.sqrt(2 * math.pi * variance[k])
        n2 = 2.0 * math.log(max(peak / threshold, 1.0))
        reach = max(reach, math.sqrt(n2 * variance[k]))
    for row in range(image.shape[0]):
        # Columns of this row within `reach` of the line; all of them if it runs along the row.
        left, right = 0, image.shape[1] - 1
        if abs(dy) > 1e-3:
            centre = x0 + (row - y0) * dx / dy
            left = max(left, math.ceil(centre - reach / abs(dy)))
            right = min(right, math.floor(centre + reach / abs(dy)))
        for column in range(left, right + 1):
            along = (column - x0) * dx + (row - y0) * dy
            across = (row - y0) * dx - (column - x0) * dy
            if along < 0.0 or along > length or abs(across) > reach:
                continue
            profile = 0.0
            for k in range(weight.size):
                profile += (
                    weight[k]
                    / math.sqrt(2 * math.pi * variance[k])
                    * math.exp(-0.5 * across * across / variance[k])
                )
            bright = light[0]
            if light[2] > 0.0:
                bright *= 1.0 + light[1] * math.sin(2 * math.pi * along / light[2])
            image[row, column] += np.float32(bright * profile)


@compiled("void(f4[:, ::1], f8, f8, f8, f8, f8, f8)", cache=True, fastmath=True)
def add_ring(
    image: Image, x: float, y: float, outer: float, inner: float, level: float, softness: float
) -> None:
    """Add a disc with a hole: an out-of-focus image of the pupil.

    `outer`, `inner` and the `softness` of both edges are radii in pixels, `level` is electrons per pixel.
    """
    first = max(0, math.ceil(y - outer - softness))
    last = min(image.shape[0] - 1, math.floor(y + outer + softness))
    for row in range(first, last + 1):
        dy = row - y
        half = math.sqrt(max((outer + softness) ** 2 - dy * dy, 0.0))
        left, right = max(0, math.ceil(x - half)), min(image.shape[1] - 1, math.floor(x + half))
        for column in range(left, right + 1):
            r = math.hypot(column - x, dy)
            edge = min(max((outer - r) / softness + 0.5, 0.0), 1.0)
            if inner > 0.0:
                edge *= min(max((r - inner) / softness + 0.5, 0.0), 1.0)
            image[row, column] += np.float32(level * edge)
