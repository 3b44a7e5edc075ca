"""Everything that is measured on one source at a time, in one compiled loop over the sources."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.aperture_circle import circle_overlap, circle_sum, radius_of_share
from zsds_tasks.pixels.aperture_kron import ellipse_sum, kron_radius
from zsds_tasks.pixels.aperture_stamp import GOOD, NEIGHBOUR, load_stamp, mend_stamp
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image
from zsds_tasks.pixels.moments import ellipse_axes, unwindowed, windowed_centre
from zsds_tasks.pixels.segmentation_scan import Indexes, Mask

Floats = NDArray[np.float64]
SOURCE_COLUMNS = (
    "x", "y", "var_x", "var_y", "cov_xy", "xx", "yy", "xy",
    "kron", "auto", "auto_area", "auto_neighbours", "auto_missing", "half_light", "local",
)  # fmt: skip
"""Of `measure_each`: 0-based px; px^2; px^2; radius in isophotal ellipses; image unit; px^2; px; sky
beside the source, image unit."""
HALF_OF_SIGMA = 1.1774100225154747
"""Half-light radius of a round Gaussian in units of its sigma."""
LARGEST_HALF = 60
"""Most half a stamp can be, px."""
RING = (5.5, 8.5)
"""Where the sky beside a source is taken, px."""
LEAST_RING = 30
"""Pixels it needs."""
_EACH = (
    "void(f4[:, ::1], u2[:, ::1], i4[:, ::1], u2, f8[:, ::1], f8[::1], f8, f8[::1], f8[::1], f8[::1], "
    "f8[:, ::1], f8[:, ::1], f8[:, ::1], f8[:, ::1])"
)


@njit(cache=True)
def _centre_errors(
    stamp: Image,
    x: float,
    y: float,
    sigma: float,
    sky_variance: float,
    per_light: float,
    light: float,
    weights: Floats,
) -> tuple[float, float, float]:
    """Return variances and covariance of a windowed centre, px^2, from the noise of sky and light."""
    reach = 4.0 * sigma
    factor = -1.0 / (sigma * sigma)  # of the window squared
    vx, vy, vxy = 0.0, 0.0, 0.0
    u0, u1 = max(math.ceil(x - reach), 0), min(math.floor(x + reach), stamp.shape[1] - 1)
    for u in range(u0, u1 + 1):
        weights[u] = math.exp(factor * (u - x) ** 2)
    for v in range(max(math.ceil(y - reach), 0), min(math.floor(y + reach), stamp.shape[0] - 1) + 1):
        dy = v - y
        p0, p1, p2 = 0.0, 0.0, 0.0
        for u in range(u0, u1 + 1):
            dx = u - x
            weight = weights[u] * (sky_variance + max(stamp[v, u], np.float32(0)) * per_light)
            p0 += weight
            p1 += weight * dx
            p2 += weight * dx * dx
        w = math.exp(factor * dy * dy)
        vx += w * p2
        vy += w * dy * dy * p0
        vxy += w * dy * p1
    scale = 4.0 / (light * light) if light > 0 else np.inf
    return vx * scale, vy * scale, vxy * scale


@njit(cache=True)
def _lost_area(state: NDArray[np.uint8], x: float, y: float, r: float) -> tuple[float, float]:
    """Return the area of other sources and of missing pixels in a circle, px^2."""
    neighbours, missing = 0.0, 0.0
    for v in range(max(math.ceil(y - r - 0.5), 0), min(math.floor(y + r + 0.5), state.shape[0] - 1) + 1):
        for u in range(max(math.ceil(x - r - 0.5), 0), min(math.floor(x + r + 0.5), state.shape[1] - 1) + 1):
            if state[v, u] == GOOD:
                continue
            share = circle_overlap(u - x, v - y, r)
            if state[v, u] == NEIGHBOUR:
                neighbours += share
            else:
                missing += share
    return neighbours, missing


@njit(cache=True)
def _local_level(
    stamp: Image, state: NDArray[np.uint8], labels: Indexes, x0: int, y0: int, x: float, y: float
) -> float:
    """Return the mean of the pixels without a source in a ring about one; 0 if they are few.

    Near a bright star it is the light of the star's wings, which the sky's mesh is too coarse for.
    """
    total, n = 0.0, 0
    r = RING[1]
    for v in range(max(math.ceil(y - r), 0), min(math.floor(y + r), state.shape[0] - 1) + 1):
        for u in range(max(math.ceil(x - r), 0), min(math.floor(x + r), state.shape[1] - 1) + 1):
            d = (u - x) ** 2 + (v - y) ** 2
            if RING[0] ** 2 <= d < RING[1] ** 2 and state[v, u] == GOOD and labels[y0 + v, x0 + u] == 0:
                total += stamp[v, u]
                n += 1
    return total / n if n >= LEAST_RING else 0.0


@njit(cache=True)
def _window_ladder(stamp: Image, x: float, y: float, sigmas: Floats, weights: Floats, out: Floats) -> None:
    """Set the light under Gaussian windows of several widths, out to 8 px."""
    n = len(sigmas)
    u0, u1 = max(math.ceil(x - 8.0), 0), min(math.floor(x + 8.0), stamp.shape[1] - 1)
    for k in range(n):
        factor = -0.5 / (sigmas[k] * sigmas[k])
        out[k] = 0
        for u in range(u0, u1 + 1):
            weights[u] = math.exp(factor * (u - x) ** 2)
        for v in range(max(math.ceil(y - 8.0), 0), min(math.floor(y + 8.0), stamp.shape[0] - 1) + 1):
            total = 0.0
            for u in range(u0, u1 + 1):
                total += weights[u] * stamp[v, u]
            out[k] += total * math.exp(factor * (v - y) ** 2)


@njit(cache=True)
def _kron_part(
    stamp: Image, state: NDArray[np.uint8], x: float, y: float, axes: Floats, kron: Floats, row: Floats
) -> None:
    """Set Kron's radius, the light in its ellipse, and what of that was not the source's own."""
    a, b, angle = ellipse_axes(axes[0], axes[1], axes[2])
    cosine, sine = math.cos(angle), math.sin(angle)
    cxx = (cosine / a) ** 2 + (sine / b) ** 2
    cyy = (sine / a) ** 2 + (cosine / b) ** 2
    cxy = 2 * cosine * sine * (1 / (a * a) - 1 / (b * b))
    radius = kron_radius(stamp, x, y, cxx, cyy, cxy, kron[2])
    radius = max(kron[0] * radius, kron[1])
    # The ellipse must fit into the stamp.
    radius = min(radius, (stamp.shape[0] // 2) / a)
    row[8] = radius
    row[9], row[10], row[11], row[12] = ellipse_sum(stamp, state, x, y, cxx, cyy, cxy, radius)


@compiled(_EACH, cache=True, nogil=True)
def measure_each(
    image: Image,
    mask: Mask,
    labels: Indexes,
    bits: np.uint16,
    iso: Floats,
    noise: Floats,
    gain: float,
    radii: Floats,
    ladder: Floats,
    shape: Floats,
    out: Floats,
    circles: Floats,
    lost: Floats,
    windows: Floats,
) -> None:
    """Measure every source on a stamp of its own, from which others and unusable pixels are gone.

    Parameters
    ----------
    image, mask : numpy.ndarray (ny, nx)
    labels : numpy.ndarray (ny, nx), int32
        See `Segmentation`.
    bits : uint16
        Pixels with one of these are replaced.
    iso : numpy.ndarray (N, 10), float64
        Of `isophotal_moments`.
    noise : numpy.ndarray (N), float64
        Of a sky pixel at each source.
    gain : float
        Electrons per unit of the image.
    radii : numpy.ndarray (R), float64
        Of circles, px.
    ladder : numpy.ndarray (L), float64
        Sigmas of Gaussian windows, px.
    shape : numpy.ndarray (5), float64
        Sigma of the PSF (px), factor on Kron's radius, least radius, reach of Kron's sum (both in isophotal
        ellipses), most half a stamp (px).
    out : numpy.ndarray (N, 15), float64
        Written; see `SOURCE_COLUMNS`.
    circles, lost : numpy.ndarray (N, R), float64
        Written: light in the circles, area of missing pixels in them.
    windows : numpy.ndarray (N, L), float64
        Written: light under the windows.
    """
    most = int(min(shape[4], LARGEST_HALF))
    side = 2 * LARGEST_HALF + 1
    stamps, states = np.empty(side * side, np.float32), np.empty(side * side, np.uint8)
    ring_sum, ring_count = np.empty(2 * side), np.empty(2 * side)
    weights, sums = np.empty(side), np.zeros(6)
    smallest = math.ceil(radii.max()) + 1
    for k in range(len(iso)):
        a, _, _ = ellipse_axes(iso[k, 2], iso[k, 3], iso[k, 4])
        half = max(smallest, min(math.ceil(shape[3] * a) + 1, most))
        n = 2 * half + 1
        x0, y0 = round(iso[k, 0]) - half, round(iso[k, 1]) - half
        # Without gaps between the rows: the compiler knows no stride to be 1 otherwise.
        stamp, state = stamps[: n * n].reshape(n, n), states[: n * n].reshape(n, n)
        gone = load_stamp(image, mask, labels, bits, np.int32(k + 1), x0, y0, stamp, state)
        x, y = iso[k, 0] - x0, iso[k, 1] - y0
        if gone > 0:
            mend_stamp(stamp, state, x, y, ring_sum, ring_count)
        x, y = windowed_centre(stamp, x, y, shape[0], 2.0 + 0.5 * a, weights, sums)
        _kron_part(stamp, state, x, y, iso[k, 2:5], shape[1:4], out[k])
        radius = math.sqrt(out[k, 10] / math.pi)
        out[k, 13] = (
            radius_of_share(stamp, x, y, 0.5 * out[k, 9], 0.2, max(radius, 0.5)) if out[k, 9] > 0 else 0.0
        )
        sigma = min(max(shape[0], out[k, 13] / HALF_OF_SIGMA), half / 4.0)
        x, y = windowed_centre(stamp, x, y, sigma, 1.0 + 0.5 * a, weights, sums)
        out[k, 0], out[k, 1] = x0 + x, y0 + y
        out[k, 14] = _local_level(stamp, state, labels, x0, y0, x, y)
        out[k, 2], out[k, 3], out[k, 4] = _centre_errors(
            stamp, x, y, sigma, noise[k] * noise[k], 1.0 / gain, sums[0], weights
        )
        out[k, 5], out[k, 6], out[k, 7] = unwindowed(sums, sigma)
        for r in range(len(radii)):
            circles[k, r] = circle_sum(stamp, x, y, radii[r])
            lost[k, r] = _lost_area(state, x, y, radii[r])[1] if gone > 0 else 0.0
        _window_ladder(stamp, x, y, ladder, weights, windows[k])
