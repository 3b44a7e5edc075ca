"""Sums of pixels in a circle with the exact area of each pixel inside it: compiled."""

from __future__ import annotations

import math

import numpy as np

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image


@compiled("f8(f8, f8, f8, f8, f8)", cache=True)
def _corner_overlap(x0: float, x1: float, y0: float, y1: float, r: float) -> float:
    """Return the area of a circle of radius r about the origin in a rectangle of the first quadrant."""
    if x0 * x0 + y0 * y0 >= r * r:
        return 0.0
    if x1 * x1 + y1 * y1 <= r * r:
        return (x1 - x0) * (y1 - y0)
    # The circle leaves the upper side of the rectangle at `full` and the lower one at `end`.
    full = math.sqrt(r * r - y1 * y1) if y1 < r else 0.0
    full = min(max(full, x0), x1)
    end = min(math.sqrt(r * r - y0 * y0), x1)
    a, b = math.sqrt(max(r * r - full * full, 0.0)), math.sqrt(max(r * r - end * end, 0.0))
    # Both on the circle: the angle between them from cross and dot product.
    angle = math.atan2(end * a - full * b, full * end + a * b)
    under = 0.5 * (end * b - full * a + r * r * angle)
    return (full - x0) * (y1 - y0) + under - y0 * (end - full)


@compiled("f8(f8, f8, f8)", cache=True)
def circle_overlap(dx: float, dy: float, r: float) -> float:
    """Return the area of a pixel inside a circle of radius r; dx, dy from its centre to the pixel's.

    Source: the integral of sqrt(r^2 - x^2), exact up to rounding.
    """
    dx, dy = abs(dx), abs(dy)
    x0, x1, y0, y1 = dx - 0.5, dx + 0.5, dy - 0.5, dy + 0.5
    if x0 >= 0 and y0 >= 0:
        return _corner_overlap(x0, x1, y0, y1, r)
    # A pixel on an axis is the sum of its mirrored parts.
    area = 0.0
    if x0 < 0 and y0 < 0:
        area = _corner_overlap(0.0, -x0, 0.0, -y0, r) + _corner_overlap(0.0, -x0, 0.0, y1, r)
        area += _corner_overlap(0.0, x1, 0.0, -y0, r) + _corner_overlap(0.0, x1, 0.0, y1, r)
    elif x0 < 0:
        area = _corner_overlap(0.0, -x0, y0, y1, r) + _corner_overlap(0.0, x1, y0, y1, r)
    else:
        area = _corner_overlap(x0, x1, 0.0, -y0, r) + _corner_overlap(x0, x1, 0.0, y1, r)
    return area


@compiled("f8(f8, f8)", cache=True)
def _half_strip(t: float, r: float) -> float:
    """Return half the area of a circle of radius r about the origin at 0 < x < t; negative for t < 0."""
    t = min(max(t, -r), r)  # then the root below is exactly 0, in whatever way it is rounded
    return 0.5 * (t * math.sqrt((r - t) * (r + t)) + r * r * math.asin(t / r))


# Sums in any order, and no branch in the inner loops: so several pixels are done at a time.
@compiled("f8(f4[:, ::1], f8, f8, f8)", cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def circle_sum(stamp: Image, x: float, y: float, r: float) -> float:
    """Return the sum of a stamp (ny, nx) in a circle about (x, y), 0-based in the stamp, px.

    Pixels beyond the stamp count as 0. As if with `circle_overlap`: a pixel's area inside is a difference of
    the circle's areas left of and below its corners, which pixels share; an arc is measured once per row and
    column instead of once per pixel of the rim.
    """
    u0, u1 = max(math.ceil(x - r - 0.5), 0), min(math.floor(x + r + 0.5) + 1, stamp.shape[1])
    v0, v1 = max(math.ceil(y - r - 0.5), 0), min(math.floor(y + r + 0.5) + 1, stamp.shape[0])
    if u1 <= u0 or v1 <= v0:
        return 0.0
    n = u1 - u0
    scratch = np.empty((3, n + 1))
    strips, below, row = scratch[0], scratch[1], scratch[2]
    r2, quarter = r * r, 0.25 * math.pi * r * r
    for k in range(n + 1):
        strips[k] = _half_strip(u0 + k - 0.5 - x, r)
        below[k] = 0.0
    total = 0.0
    for v in range(v0 - 1, v1):
        top = v + 0.5 - y
        strip = _half_strip(top, r)
        for k in range(n + 1):
            left, side = u0 + k - 0.5 - x, strips[k]
            within = left * top + side + strip + quarter
            if top > 0:
                beyond = 2 * side + (2 * strip if left > 0 else 2 * quarter)
            else:
                beyond = 2 * (strip + quarter) if left > 0 else 0.0
            area = within if left * left + top * top < r2 else beyond
            row[k], below[k] = area - below[k], area
        if v >= v0:
            for k in range(n):
                total += stamp[v, u0 + k] * (row[k + 1] - row[k])
    return total


@compiled("f8(f4[:, ::1], f8, f8, f8, f8, f8)", cache=True, nogil=True)
def radius_of_share(stamp: Image, x: float, y: float, wanted: float, low: float, high: float) -> float:
    """Return the radius of the circle that holds `wanted` of a stamp's light, between `low` and `high`, px.

    By false position in the square of the radius; if the light does not bracket it, the nearer end.
    """
    a, b = low * low, high * high
    fa, fb = circle_sum(stamp, x, y, low) - wanted, circle_sum(stamp, x, y, high) - wanted
    if fa >= 0:
        return low
    if fb <= 0:
        return high
    side = 0
    middle = b
    for step in range(40):
        # Where the curve is flat the secant creeps: then halve.
        middle = (a * fb - b * fa) / (fb - fa) if step < 6 else 0.5 * (a + b)
        f = circle_sum(stamp, x, y, math.sqrt(middle)) - wanted
        if abs(f) < 1e-4 * wanted or b - a < 1e-5:
            break
        # Illinois: an end kept twice counts half, or the other one would never move.
        if f > 0:
            b, fb = middle, f
            fa = fa / 2 if side == 1 else fa
            side = 1
        else:
            a, fa = middle, f
            fb = fb / 2 if side == -1 else fb
            side = -1
    return math.sqrt(middle)
