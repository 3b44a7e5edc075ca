"""Compiled kernels that draw sources with a PSF, and the columns in which sources are kept.

Columns of a source (float64): position (0-based, px), flux, where it was detected, sky noise of a pixel,
size of its last step in sigma. Columns of its plan (int64): row of the mixed table, radius of the fit, radius
drawn (px).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_splines import MARGIN, sample_table

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]

X, Y, FLUX, X_START, Y_START, NOISE, STEP = 0, 1, 2, 3, 4, 5, 6
SOURCE_COLUMNS = 7
TABLE, FIT, DRAW = 0, 1, 2
PLAN_COLUMNS = 3


@compiled(
    "void(f4[:, :, :, :, ::1], f8[::1], i8[::1], i8, i8, i8, f4[:, ::1], f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def sample_source(
    tables: Image,
    source: Floats,
    plan: Indexes,
    size: int,
    order_x: int,
    order_y: int,
    out: Image,
    work: Image,
) -> None:
    """Sample the PSF of a source, or a derivative, on 2 size + 1 pixels around the one nearest to it.

    Parameters
    ----------
    tables : numpy.ndarray (M, S, S, n, n), float32
        Mixed for places; see `zsds_tasks.pixels.psf_splines.mix_tables`.
    source, plan : numpy.ndarray
        One row each.
    size : int
    order_x, order_y : int
        Derivatives with the position.
    out : numpy.ndarray (>= 2 size + 1, >= 2 size + 1), float32
    work : numpy.ndarray (S, n, n), float32
    """
    half = (tables.shape[3] - 1) // 2 - MARGIN
    dx, dy = source[X] - round(source[X]), source[Y] - round(source[Y])
    sample_table(tables[plan[TABLE]], dx, dy, half, size, order_x, order_y, out, work)


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f8, f8, f8, i8)", cache=True, nogil=True, fastmath={"contract", "nsz"}
)
def add_stamp(image: Image, light: Image, x: float, y: float, factor: float, size: int) -> None:
    """Add a stamp of 2 size + 1 pixels times a factor around the pixel nearest to (x, y), where inside."""
    ny, nx = image.shape
    row, column = round(y) - size, round(x) - size
    n = 2 * size + 1
    left, right = max(0, -column), min(n, nx - column)
    f = np.float32(factor)
    for i in range(max(0, -row), min(n, ny - row)):
        line, part = image[row + i], light[i]
        for j in range(left, right):
            line[column + j] += f * part[j]


@compiled(
    "void(f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], f8)", cache=True, nogil=True
)
def draw_sources(
    image: Image, sources: Floats, plan: Indexes, tables: Image, rows: Indexes, sign: float
) -> None:
    """Add some sources times a sign to an image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
    sources : numpy.ndarray (N, SOURCE_COLUMNS), float64
    plan : numpy.ndarray (N, PLAN_COLUMNS), int64
    tables : numpy.ndarray (M, S, S, n, n), float32
    rows : numpy.ndarray (K), int64
    sign : float
    """
    s, m = tables.shape[1], tables.shape[3]
    light, work = np.empty((m, m), np.float32), np.empty((s, m, m), np.float32)
    for k in rows:
        size = plan[k, DRAW]
        sample_source(tables, sources[k], plan[k], size, 0, 0, light, work)
        add_stamp(image, light, sources[k, X], sources[k, Y], sign * sources[k, FLUX], size)
