"""Compiled kernels of a scene: unusable pixels, patches of saturated stars, single stars."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_draw import PLAN_COLUMNS, SOURCE_COLUMNS, X, Y, draw_sources
from zsds_tasks.pixels.psf_splines import terms_at

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
GROWN_MOST = 100_000
"""Pixels of such patches that are looked at, at most."""
VISITED = np.float32(-np.inf)


@compiled("void(f4[:, ::1], u2[:, ::1], i8, f4[:, ::1])", cache=True, nogil=True)
def blank_unusable(image: Image, mask: Mask, bits: int, out: Image) -> None:
    """Copy an image, unusable pixels as NaN."""
    wanted = np.uint16(bits)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            is_bad = ((mask[i, j] & wanted) != 0) | (not math.isfinite(image[i, j]))
            out[i, j] = np.float32(np.nan) if is_bad else image[i, j]


@compiled("i8(f4[:, ::1], i8[:, ::1], i8, i8)", cache=True, nogil=True)
def _flood(image: Image, patch: Indexes, done: int, n: int) -> int:
    """Follow a patch of NaN from pixels `done` to `n` of a list, marking it; return its new length."""
    ny, nx = image.shape
    while done < n:
        row, column = patch[done, 0], patch[done, 1]
        done += 1
        for i in range(max(0, row - 1), min(ny, row + 2)):
            for j in range(max(0, column - 1), min(nx, column + 2)):
                if n < len(patch) and math.isnan(image[i, j]):
                    image[i, j] = VISITED
                    patch[n, 0], patch[n, 1] = i, j
                    n += 1
    return n


@compiled("void(f4[:, ::1], f8[::1], f8[::1])", cache=True, nogil=True)
def grow_patches(image: Image, x: Floats, y: Floats) -> None:
    """Make the pixels that touch the patches of NaN under some places (whole numbers) NaN too."""
    ny, nx = image.shape
    patch = np.empty((GROWN_MOST, 2), np.int64)
    n = 0
    for k in range(len(x)):
        row, column = int(y[k]), int(x[k])
        is_inside = 0 <= row < ny and 0 <= column < nx and n < GROWN_MOST
        if is_inside and math.isnan(image[row, column]):
            image[row, column] = VISITED
            patch[n, 0], patch[n, 1] = row, column
            n = _flood(image, patch, n, n + 1)
    for k in range(n):
        row, column = patch[k, 0], patch[k, 1]
        for i in range(max(0, row - 1), min(ny, row + 2)):
            for j in range(max(0, column - 1), min(nx, column + 2)):
                image[i, j] = image[i, j] if image[i, j] == VISITED else np.float32(np.nan)
    for k in range(n):
        image[patch[k, 0], patch[k, 1]] = np.nan


@compiled("void(f8[::1], f8[::1], i8, f8[:, ::1])", cache=True, nogil=True)
def terms_of_places(u: Floats, v: Floats, degree: int, out: Floats) -> None:
    """Write the terms (N, MAX_TERMS) of places in units of the polynomial."""
    for k in range(len(u)):
        terms_at(u[k], v[k], degree, out[k])


@compiled("void(f4[:, ::1], f8[::1], f8[::1], i8, f8[::1])", cache=True, nogil=True)
def usable_shares(residual: Image, x: Floats, y: Floats, reach: int, out: Floats) -> None:
    """Write the share of a disc around each place that is usable, of what lies inside the image."""
    ny, nx = residual.shape
    for k in range(len(x)):
        row, column = round(y[k]), round(x[k])
        inside = usable = 0
        for i in range(max(0, row - reach), min(ny, row + reach + 1)):
            for j in range(max(0, column - reach), min(nx, column + reach + 1)):
                if (i - row) ** 2 + (j - column) ** 2 <= reach * reach:
                    inside += 1
                    usable += not math.isnan(residual[i, j])
        out[k] = usable / max(inside, 1)


@compiled(
    "void(f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def own_stamps(
    residual: Image, sources: Floats, plan: Indexes, tables: Image, rows: Indexes, out: Image
) -> None:
    """Write the pixels around some sources without all others: residual and the source drawn alone."""
    ny, nx = residual.shape
    n = out.shape[1]
    half = n // 2
    light = np.empty((1, n, n), np.float32)
    one, shifted = np.zeros(1, np.int64), np.empty((1, SOURCE_COLUMNS))
    own = np.empty((1, PLAN_COLUMNS), np.int64)
    for k in range(len(rows)):
        shifted[0], own[0] = sources[rows[k]], plan[rows[k]]
        row, column = round(shifted[0, Y]) - half, round(shifted[0, X]) - half
        shifted[0, X] -= column
        shifted[0, Y] -= row
        light[:] = 0.0
        draw_sources(light[0], shifted, own, tables, one, 1.0)
        for i in range(n):
            for j in range(n):
                if 0 <= row + i < ny and 0 <= column + j < nx:
                    out[k, i, j] = light[0, i, j] + residual[row + i, column + j]
                else:
                    out[k, i, j] = np.nan
