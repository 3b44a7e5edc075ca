"""Fits of a folded shape with its frequency: a Fourier series, or two dips half a period apart; compiled.

Dips are Gaussian. Gauss-Newton on frequency (and place and width of the dips); what is linear is solved
exactly at each step.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ROUNDS = 8
LEAST_WIDTH, MOST_WIDTH = 0.006, 0.11  # standard deviation of a dip in phase
RIDGE = 1e-10
SUMS = {"reassoc", "contract"}  # sums may run in lanes


@compiled(
    "void(f8[:, ::1], f8[::1], f8[::1], i8, f8[:, ::1], f8[::1])", cache=True, nogil=True, fastmath=SUMS
)
def _normal(x: Floats, w: Floats, y: Floats, p: int, a: Floats, out: Floats) -> None:
    """Write the lower half of the normal matrix and the right side."""
    for i in range(p):
        s = 0.0
        for e in range(len(y)):
            s += w[e] * x[i, e] * y[e]
        out[i] = s
        for j in range(i + 1):
            s = 0.0
            for e in range(len(y)):
                s += w[e] * x[i, e] * x[j, e]
            a[i, j] = s


@compiled("b1(f8[:, ::1], f8[::1], f8[::1], i8, f8[::1])", cache=True, nogil=True, fastmath=SUMS)
def _solve(x: Floats, w: Floats, y: Floats, p: int, out: Floats) -> bool:
    """Weighted least squares of y on the first p rows of x (P, N); False if the rows do not tell enough."""
    a = np.empty((p, p))
    _normal(x, w, y, p, a, out)
    for i in range(p):
        whole = a[i, i]
        for j in range(i):
            for k in range(j):
                a[i, j] -= a[i, k] * a[j, k]
            a[i, j] /= a[j, j]
            a[i, i] -= a[i, j] * a[i, j]
            out[i] -= a[i, j] * out[j]
        if not a[i, i] > RIDGE * whole:
            return False
        a[i, i] = math.sqrt(a[i, i])
        out[i] /= a[i, i]
    for i in range(p - 1, -1, -1):
        for k in range(i + 1, p):
            out[i] -= a[k, i] * out[k]
        out[i] /= a[i, i]
    return True


@compiled("void(f8[::1], i8, f8, f8, f8, i8, f8[:, ::1])", cache=True, nogil=True)
def _rows(t: Floats, order: int, f: float, phase: float, width: float, at: int, x: Floats) -> None:
    """Write the rows of the shape: cosines and sines of `order` harmonics, or two dips if order is 0."""
    for e in range(len(t)):
        turn = (f * t[e]) % 1.0
        if order == 0:
            d = (turn - phase + 1.5) % 1.0 - 0.5
            x[at, e] = math.exp(-0.5 * (d / width) ** 2)
            d = (turn - phase + 1.0) % 1.0 - 0.5
            x[at + 1, e] = math.exp(-0.5 * (d / width) ** 2)
            continue
        c, s = math.cos(2.0 * math.pi * turn), math.sin(2.0 * math.pi * turn)
        ck, sk = c, s
        for k in range(order):
            x[at + 2 * k, e], x[at + 2 * k + 1, e] = ck, sk
            ck, sk = ck * c - sk * s, sk * c + ck * s


@compiled("void(f8[::1], i8, f8, f8, f8, f8[::1], i8, f8[:, ::1])", cache=True, nogil=True)
def _slopes(
    t: Floats, order: int, f: float, phase: float, width: float, linear: Floats, at: int, x: Floats
) -> None:
    """Write the derivatives after the rows of the shape: by frequency, and of dips by phase and width."""
    end = at + (2 * order if order else 2)
    for e in range(len(t)):
        if order == 0:
            turn = (f * t[e]) % 1.0
            by_phase = by_width = 0.0
            for k in range(2):
                d = (turn - phase + 1.5 - 0.5 * k) % 1.0 - 0.5
                g = linear[at + k] * x[at + k, e]
                by_phase += g * d / (width * width)
                by_width += g * d * d / (width * width * width)
            x[end, e], x[end + 1, e], x[end + 2, e] = -by_phase * t[e], by_phase, by_width
            continue
        slope = 0.0
        for k in range(order):
            a, b = linear[at + 2 * k], linear[at + 2 * k + 1]
            slope += (k + 1) * (b * x[at + 2 * k, e] - a * x[at + 2 * k + 1, e])
        x[end, e] = 2.0 * math.pi * t[e] * slope


@compiled("f8(f8[:, ::1], f8[::1], f8[::1], i8[::1], i8, i8, f8[::1], f8[::1])", cache=True, nogil=True)
def _rest(
    x: Floats, y: Floats, w: Floats, band: Integers, n_bands: int, p: int, solved: Floats, rest: Floats
) -> float:
    """Write what a solution leaves and return its chi square."""
    chi = 0.0
    for e in range(len(y)):
        rest[e] = y[e] - solved[band[e]]
        for k in range(n_bands, p):
            rest[e] -= solved[k] * x[k, e]
        chi += w[e] * rest[e] * rest[e]
    return chi


@compiled(
    "void(f8[::1], f8[::1], f8[::1], i8[::1], i8, i8, f8[::1], f8[::1], f8[::1])", cache=True, nogil=True
)
def fit_shape(
    t: Floats,
    y: Floats,
    w: Floats,
    band: Integers,
    n_bands: int,
    order: int,
    place: Floats,
    linear: Floats,
    model: Floats,
) -> None:
    """Fit a shape and its frequency from a start.

    Parameters
    ----------
    t, y, w : (N) float64
        Days, magnitudes, weights.
    band : (N) int64
        Whose constant an epoch has, 0 to `n_bands` - 1.
    n_bands, order : int
        Harmonics; 0 for dips.
    place : (4) float64
        Frequency, phase and width of the dips at the start; at the end the best, and chi square
        (infinite where the epochs do not determine the fit) as the fourth.
    linear : (n_bands + 2 max(1, order)) float64, written
        Constants, then amplitudes or depths.
    model : (N) float64, written
        Shape at the epochs, without constants.
    """
    shape = 2 * order if order else 2
    free = 1 if order else 3
    p = n_bands + shape
    x, solved, step, rest = np.zeros((p + free, len(t))), np.empty(p), np.empty(p + free), np.empty(len(t))
    for e in range(len(t)):
        x[band[e], e] = 1.0
    f, phase, width = place[0], place[1], place[2]
    longest = 0.1 / (max(order, 2) * (t.max() - t.min()))
    place[3] = np.inf
    shrink, df, dphase, dwidth = 1.0, 0.0, 0.0, 0.0
    for _ in range(ROUNDS):
        _rows(t, order, f, phase, width, n_bands, x)
        chi = np.inf
        if _solve(x, w, y, p, solved):
            chi = _rest(x, y, w, band, n_bands, p, solved, rest)
        if chi < place[3]:
            gained = place[3] - chi
            place[0], place[1], place[2], place[3] = f, phase, width, chi
            linear[:] = solved
            for e in range(len(t)):
                model[e] = y[e] - rest[e] - solved[band[e]]
            if gained < 1e-3 * chi / len(t):
                return
            _slopes(t, order, f, phase, width, linear, n_bands, x)
            if not _solve(x, w, rest, p + free, step):
                return
            shrink = 1.0
            df = min(max(step[p], -longest), longest)
            dphase = min(max(step[p + 1], -0.5 * width), 0.5 * width) if order == 0 else 0.0
            dwidth = min(max(step[p + 2], -0.4 * width), 0.7 * width) if order == 0 else 0.0
        elif not place[3] < np.inf:
            return
        else:
            shrink *= 0.3
        f = place[0] + shrink * df
        phase = (place[1] + shrink * dphase) % 1.0
        width = min(max(place[2] + shrink * dwidth, LEAST_WIDTH), MOST_WIDTH)
