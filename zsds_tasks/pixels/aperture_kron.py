"""Kron's radius and the light in its ellipse: compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.aperture_stamp import GOOD, OUTSIDE, UNUSABLE
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image


@compiled("UniTuple(i8, 4)(f4[:, ::1], f8, f8, f8, f8)", cache=True)
def _box(stamp: Image, x: float, y: float, half_x: float, half_y: float) -> tuple[int, int, int, int]:
    """Return first row, row after the last, first column, column after the last within a distance."""
    return (
        max(math.ceil(y - half_y), 0),
        min(math.floor(y + half_y) + 1, stamp.shape[0]),
        max(math.ceil(x - half_x), 0),
        min(math.floor(x + half_x) + 1, stamp.shape[1]),
    )


# Sums in any order, and no branch: else neither the sums nor the roots are done several at a time.
@compiled(
    "f8(f4[:, ::1], f8, f8, f8, f8, f8, f8)", cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}
)
def kron_radius(stamp: Image, x: float, y: float, cxx: float, cyy: float, cxy: float, reach: float) -> float:
    """Return the light-weighted mean radius in units of the ellipse cxx dx^2 + cyy dy^2 + cxy dx dy = 1.

    Within `reach` of these units; 0 where the light is not positive. Source: Kron (1980), as in SExtractor.
    """
    first, light = 0.0, 0.0
    size = reach / math.sqrt(cxx * cyy - 0.25 * cxy * cxy)
    v0, v1, u0, u1 = _box(stamp, x, y, size * math.sqrt(cyy), size * math.sqrt(cxx))
    limit = reach * reach
    for v in range(v0, v1):
        dy = v - y
        for u in range(u0, u1):
            dx = u - x
            r2 = max(cxx * dx * dx + cyy * dy * dy + cxy * dx * dy, 0.0)
            value = float(stamp[v, u]) if r2 < limit else 0.0
            first += math.sqrt(r2) * value
            light += value
    return first / light if light > 0 and first > 0 else 0.0


@compiled("f8(f8, f8, f8, f8, f8, f8)", cache=True, fastmath={"reassoc", "contract", "nsz"})
def _share_inside(dx: float, dy: float, cxx: float, cyy: float, cxy: float, radius: float) -> float:
    """Return how much of a pixel is inside an ellipse, from the distances of nine points of it to the rim."""
    total = 0.0
    for k in range(9):
        u, v = dx + (k % 3 - 1) / 3, dy + (k // 3 - 1) / 3
        r2 = max(cxx * u * u + cyy * v * v + cxy * u * v, 0.0)
        gx, gy = cxx * u + 0.5 * cxy * v, cyy * v + 0.5 * cxy * u
        slope = math.sqrt(gx * gx + gy * gy)
        # A third of a pixel counts whole from a sixth of a pixel inside the rim on.
        depth = min(max(3 * (radius * math.sqrt(r2) - r2) / max(slope, 1e-30) + 0.5, 0.0), 1.0)
        total += depth if slope > 0 else 1.0
    return total / 9


@compiled("UniTuple(f8, 4)(f4[:, ::1], u1[:, ::1], f8, f8, f8, f8, f8, f8)", cache=True, nogil=True)
def ellipse_sum(
    stamp: Image,
    state: NDArray[np.uint8],
    x: float,
    y: float,
    cxx: float,
    cyy: float,
    cxy: float,
    radius: float,
) -> tuple[float, float, float, float]:
    """Return light, area, area of other sources and area of missing pixels in an ellipse.

    The area of an ellipse of 3 px is right to 0.5 %.
    """
    light, area, neighbours, missing = 0.0, 0.0, 0.0, 0.0
    # A pixel along the minor axis is this many units: nowhere does the radius grow faster.
    steepest = math.sqrt(0.5 * (cxx + cyy) + math.hypot(0.5 * (cxx - cyy), 0.5 * cxy))
    outer, inner = (radius + steepest) ** 2, max(radius - steepest, 0.0) ** 2
    size = (radius + steepest) / math.sqrt(cxx * cyy - 0.25 * cxy * cxy)
    v0, v1, u0, u1 = _box(stamp, x, y, size * math.sqrt(cyy), size * math.sqrt(cxx))
    for v in range(v0, v1):
        dy = v - y
        for u in range(u0, u1):
            dx = u - x
            r2 = cxx * dx * dx + cyy * dy * dy + cxy * dx * dy
            if r2 > outer:
                continue
            share = 1.0
            if r2 > inner:
                gx, gy = cxx * dx + 0.5 * cxy * dy, cyy * dy + 0.5 * cxy * dx
                slope = math.sqrt(gx * gx + gy * gy)
                depth = radius * math.sqrt(r2) - r2
                if depth < -slope:
                    continue
                if depth < slope:
                    share = _share_inside(dx, dy, cxx, cyy, cxy, radius)
            light += share * stamp[v, u]
            area += share
            if state[v, u] != GOOD:
                if state[v, u] == UNUSABLE or state[v, u] == OUTSIDE:
                    missing += share
                else:
                    neighbours += share
    return light, area, neighbours, missing
