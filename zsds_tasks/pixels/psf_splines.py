"""Tables of a PSF as cubic B-splines finer than a pixel: mixed for a place, sampled at a sub-pixel shift.

A table covers offsets of -(half + 2) to half + 2 pixels from the star, with S nodes per pixel. It is stored
by phase: `table[phase_y, phase_x, row, column]` belongs to the offset `row + phase_y / S - (half + 2)` in y,
likewise in x. Pixels of one star all fall on the same phases, so that each tap of the spline is a run of
neighbours in memory.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
MARGIN = 2
"""Pixels that a table reaches beyond the stamp: half a pixel of shift and the taps of the spline."""
MAX_TERMS = 6


def table_rows(half: int) -> int:
    """Return how many rows (and columns) of whole pixels a table of a stamp of 2 half + 1 pixels has."""
    return 2 * (half + MARGIN) + 1


def node_offsets(half: int, oversampling: int) -> Floats:
    """Return the offsets of the nodes along one axis, px, in order: (rows * S) float64."""
    n = table_rows(half) * oversampling
    return np.arange(n) / oversampling - (half + MARGIN)


def by_phase(nodes: NDArray[np.floating], oversampling: int) -> NDArray[np.floating]:
    """Turn values at nodes in order (..., n, n) into a table (..., S, S, n / S, n / S)."""
    lead, n = nodes.shape[:-2], nodes.shape[-1] // oversampling
    split = nodes.reshape(*lead, n, oversampling, n, oversampling)
    return np.ascontiguousarray(np.moveaxis(split, (-3, -1), (-4, -3)))


def in_order(table: NDArray[np.floating]) -> NDArray[np.floating]:
    """Turn a table into values at nodes in order: what `by_phase` undoes."""
    lead, (s, _, n, _) = table.shape[:-4], table.shape[-4:]
    return np.ascontiguousarray(np.moveaxis(table, (-4, -3), (-3, -1))).reshape(*lead, n * s, n * s)


def spline_coefficients(values: Floats) -> Floats:
    """Return the B-spline coefficients (..., n, n) whose spline passes through values (..., n, n)."""
    once = ndimage.spline_filter1d(values, order=3, axis=-1, mode="mirror")
    return np.asarray(ndimage.spline_filter1d(once, order=3, axis=-2, mode="mirror"))


@compiled("void(f8, f8, i8, f8[::1])", cache=True, nogil=True)
def terms_at(u: float, v: float, degree: int, out: Floats) -> None:
    """Write the 1, 3 or 6 polynomial terms of degree 0, 1 or 2 at a place in units of half the image."""
    out[0] = 1.0
    if degree >= 1:
        out[1], out[2] = u, v
    if degree >= 2:
        out[3], out[4], out[5] = 1.5 * u * u - 0.5, u * v, 1.5 * v * v - 0.5


@compiled("void(f4[:, :, :, :, ::1], f8[::1], i8, f4[:, :, :, ::1])", cache=True, nogil=True, fastmath=True)
def mix_tables(tables: Image, terms: Floats, reach: int, out: Image) -> None:
    """Add up the tables of the terms as far as a stamp of 2 reach + 1 pixels needs them.

    Parameters
    ----------
    tables : numpy.ndarray (T, S, S, n, n), float32
    terms : numpy.ndarray (>= T), float64
    reach : int
    out : numpy.ndarray (S, S, >= m, >= m), float32
        m = 2 (reach + MARGIN) + 1; its corner is written.
    """
    n_terms, s, n = tables.shape[0], tables.shape[1], tables.shape[3]
    m = 2 * (reach + MARGIN) + 1
    first = (n - m) // 2
    w = np.zeros(MAX_TERMS, np.float32)
    for t in range(n_terms):
        w[t] = terms[t]
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for p in range(s):
        for q in range(s):
            for i in range(m):
                # All terms at once: one store per node instead of one per node and term.
                for j in range(m):
                    row, column = first + i, first + j
                    value = w0 * tables[0, p, q, row, column]
                    if n_terms >= 3:
                        value += w1 * tables[1, p, q, row, column] + w2 * tables[2, p, q, row, column]
                    if n_terms >= 6:
                        value += w3 * tables[3, p, q, row, column] + w4 * tables[4, p, q, row, column]
                        value += w5 * tables[5, p, q, row, column]
                    out[p, q, i, j] = value


@compiled("void(f8, i8, i8[:, ::1], f4[:, ::1])", cache=True, nogil=True)
def spline_taps(shift: float, s: int, place: NDArray[np.int64], weight: Image) -> None:
    """Write the taps of the cubic spline along one axis for a star at `shift` px from its pixel's middle.

    Parameters
    ----------
    shift : float
        Of the star, within -1 and 1 px.
    s : int
        Nodes per pixel.
    place : numpy.ndarray (4, 2), int64
        Phase, and row beside that of the pixel.
    weight : numpy.ndarray (3, 4), float32
        For the value, its first and second derivative with the star's position, per px.
    """
    position = -shift * s
    node = math.floor(position)
    t = position - node
    u = 1.0 - t
    weight[0, 0] = u * u * u / 6.0
    weight[0, 1] = 2.0 / 3.0 - 0.5 * t * t * (2.0 - t)
    weight[0, 2] = 2.0 / 3.0 - 0.5 * u * u * (2.0 - u)
    weight[0, 3] = t * t * t / 6.0
    # Offsets grow as the star's position falls: odd derivatives change sign.
    weight[1, 0] = s * 0.5 * u * u
    weight[1, 1] = -s * (1.5 * t * t - 2.0 * t)
    weight[1, 2] = s * (1.5 * u * u - 2.0 * u)
    weight[1, 3] = -s * 0.5 * t * t
    weight[2, 0] = s * s * u
    weight[2, 1] = s * s * (3.0 * t - 2.0)
    weight[2, 2] = s * s * (3.0 * u - 2.0)
    weight[2, 3] = s * s * t
    for k in range(4):
        at = node + k - 1
        row = math.floor(at / s)
        place[k, 0], place[k, 1] = at - row * s, row


@compiled("void(f4[::1], u8, u8, u8, u8, f4[::1], i8, f4[::1])", cache=True, nogil=True, fastmath=True)
def _add_four(flat: Image, a: int, b: int, c: int, d: int, weight: Image, n: int, out: Image) -> None:
    """Write the weighted sum of four runs of n neighbours, which begin at a, b, c, d.

    Unsigned places: signed ones are tested for counting from the end.
    """
    w0, w1, w2, w3 = weight[0], weight[1], weight[2], weight[3]
    for k in range(n):
        j = np.uint64(k)
        out[j] = w0 * flat[a + j] + w1 * flat[b + j] + w2 * flat[c + j] + w3 * flat[d + j]


@compiled("void(f4[:, :, :, ::1], i8[:, :, ::1], f4[::1], i8, i8, f4[:, :, ::1])", cache=True, nogil=True)
def _along_y(mixed: Image, place: Indexes, weight: Image, base: int, n: int, work: Image) -> None:
    """Write the taps along y of a stamp of n pixels for each phase in x: one run over its rows, whole."""
    s, m = mixed.shape[0], mixed.shape[3]
    flat, runs = mixed.reshape(mixed.size), work.reshape(work.size)
    per_phase, per_run = mixed.shape[2] * m, work.shape[1] * work.shape[2]
    x, y = place[0], place[1]
    for q in range(s):
        if q != x[0, 0] and q != x[1, 0] and q != x[2, 0] and q != x[3, 0]:
            continue
        first = q * per_phase + base * m + base - MARGIN
        a = np.uint64(first + y[0, 0] * s * per_phase + y[0, 1] * m)
        b = np.uint64(first + y[1, 0] * s * per_phase + y[1, 1] * m)
        c = np.uint64(first + y[2, 0] * s * per_phase + y[2, 1] * m)
        d = np.uint64(first + y[3, 0] * s * per_phase + y[3, 1] * m)
        _add_four(flat, a, b, c, d, weight, (n - 1) * m + n + 2 * MARGIN, runs[q * per_run :])


@compiled("void(f4[:, :, ::1], i8[:, :, ::1], f4[::1], i8, i8, f4[::1], f4[:, ::1])", cache=True, nogil=True)
def _along_x(work: Image, place: Indexes, weight: Image, m: int, n: int, run: Image, out: Image) -> None:
    """Write the taps along x of what `_along_y` wrote from a table of m columns."""
    per_run, x = work.shape[1] * work.shape[2], place[0]
    a = np.uint64(x[0, 0] * per_run + MARGIN + x[0, 1])
    b = np.uint64(x[1, 0] * per_run + MARGIN + x[1, 1])
    c = np.uint64(x[2, 0] * per_run + MARGIN + x[2, 1])
    d = np.uint64(x[3, 0] * per_run + MARGIN + x[3, 1])
    _add_four(work.reshape(work.size), a, b, c, d, weight, (n - 1) * m + n, run)
    for i in range(n):
        for j in range(n):
            out[i, j] = run[i * m + j]


@compiled("void(f4[:, :, :, ::1], f8, f8, i8, i8, i8, i8, f4[:, ::1], f4[:, :, ::1])", cache=True, nogil=True)
def sample_table(
    mixed: Image,
    dx: float,
    dy: float,
    reach: int,
    size: int,
    order_x: int,
    order_y: int,
    out: Image,
    work: Image,
) -> None:
    """Sample a mixed table, or a derivative of it with the star's position, at the pixels of a stamp.

    Runs go over the rows of the table whole: what lies between the stamp's rows costs less than many short
    loops do.

    Parameters
    ----------
    mixed : numpy.ndarray (S, S, m, m), float32
        Of `mix_tables`, of this reach.
    dx, dy : float
        Of the star from the middle pixel, px, within -1 and 1.
    reach : int
        Of the mixed table.
    size : int
        Half the stamp: it has 2 size + 1 pixels, size at most reach.
    order_x, order_y : int
        0, 1 or 2: derivatives.
    out : numpy.ndarray (>= 2 size + 1, >= 2 size + 1), float32
        Its corner is written.
    work : numpy.ndarray (S, >= 2 size + 1, >= m), float32
        Scratch.
    """
    s, m, n, base = mixed.shape[0], mixed.shape[3], 2 * size + 1, reach + MARGIN - size
    place, weight = np.empty((2, 4, 2), np.int64), np.empty((2, 3, 4), np.float32)
    spline_taps(dx, s, place[0], weight[0])
    spline_taps(dy, s, place[1], weight[1])
    run = np.empty(n * m, np.float32)
    _along_y(mixed, place, weight[1, order_y], base, n, work)
    _along_x(work, place, weight[0, order_x], m, n, run, out)


@compiled(
    "void(f4[:, :, :, ::1], f8, f8, i8, i8, f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def sample_slopes(
    mixed: Image,
    dx: float,
    dy: float,
    reach: int,
    size: int,
    light: Image,
    by_x: Image,
    by_y: Image,
    work: Image,
) -> None:
    """Write what `sample_table` does for no derivative, the first by x and the first by y, at less cost."""
    s, m, n, base = mixed.shape[0], mixed.shape[3], 2 * size + 1, reach + MARGIN - size
    place, weight = np.empty((2, 4, 2), np.int64), np.empty((2, 3, 4), np.float32)
    spline_taps(dx, s, place[0], weight[0])
    spline_taps(dy, s, place[1], weight[1])
    run = np.empty(n * m, np.float32)
    _along_y(mixed, place, weight[1, 0], base, n, work)
    _along_x(work, place, weight[0, 0], m, n, run, light)
    _along_x(work, place, weight[0, 1], m, n, run, by_x)
    _along_y(mixed, place, weight[1, 1], base, n, work)
    _along_x(work, place, weight[0, 0], m, n, run, by_y)
