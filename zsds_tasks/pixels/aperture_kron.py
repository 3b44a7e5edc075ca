"""Kron's radius and the light in its ellipse: compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.aperture_stamp import GOOD, OUTSIDE, UNUSABLE
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image


@compiled("f8(f4[:, :], f8, f8, f8, f8, f8, f8)", cache=True, nogil=True)
def kron_radius(stamp: Image, x: float, y: float, cxx: float, cyy: float, cxy: float, reach: float) -> float:
    """Return the light-weighted mean radius in units of the ellipse cxx dx^2 + cyy dy^2 + cxy dx dy = 1.

    Within `reach` of these units; 0 where the light is not positive. Source: Kron (1980), as in SExtractor.
    """
    first, light = 0.0, 0.0
    for v in range(stamp.shape[0]):
        dy = v - y
        for u in range(stamp.shape[1]):
            dx = u - x
            r2 = cxx * dx * dx + cyy * dy * dy + cxy * dx * dy
            if r2 < reach * reach:
                first += math.sqrt(r2) * stamp[v, u]
                light += stamp[v, u]
    return first / light if light > 0 and first > 0 else 0.0


@compiled("f8(f8, f8, f8, f8, f8, f8)", cache=True)
def _share_inside(dx: float, dy: float, cxx: float, cyy: float, cxy: float, radius: float) -> float:
    """Return how much of a pixel is inside an ellipse, from the distances of nine points of it to the rim."""
    total = 0.0
    for i in range(-1, 2):
        for j in range(-1, 2):
            u, v = dx + j / 3, dy + i / 3
            r = math.sqrt(cxx * u * u + cyy * v * v + cxy * u * v)
            gx, gy = cxx * u + 0.5 * cxy * v, cyy * v + 0.5 * cxy * u
            slope = math.sqrt(gx * gx + gy * gy)
            # A third of a pixel counts whole from a sixth of a pixel inside the rim on.
            total += min(max(3 * (radius - r) * r / slope + 0.5, 0.0), 1.0) if slope > 0 else 1.0
    return total / 9


@compiled("UniTuple(f8, 4)(f4[:, :], u1[:, :], f8, f8, f8, f8, f8, f8)", cache=True, nogil=True)
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
    for v in range(stamp.shape[0]):
        dy = v - y
        for u in range(stamp.shape[1]):
            dx = u - x
            r2 = cxx * dx * dx + cyy * dy * dy + cxy * dx * dy
            r = math.sqrt(r2)
            gx, gy = cxx * dx + 0.5 * cxy * dy, cyy * dy + 0.5 * cxy * dx
            slope = math.sqrt(gx * gx + gy * gy)
            depth = (radius - r) * r
            if depth < -slope:
                continue
            share = 1.0 if depth >= slope else _share_inside(dx, dy, cxx, cyy, cxy, radius)
            light += share * stamp[v, u]
            area += share
            if state[v, u] != GOOD:
                if state[v, u] == UNUSABLE or state[v, u] == OUTSIDE:
                    missing += share
                else:
                    neighbours += share
    return light, area, neighbours, missing
