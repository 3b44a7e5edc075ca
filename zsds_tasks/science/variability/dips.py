"""Search for eclipses: two dips half a period apart in folded light curves; compiled.

The box search of Kovacs, Zucker and Mazeh (2002, A&A 391, 369) with two boxes of free depths: a binary is
found at its own period, of whatever depths its eclipses are.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 40
"""Bins of a period."""
WIDTHS = (2, 3, 5)
"""Of the boxes, in bins."""
LEAST = 3
"""Epochs of middling weight within the dips: fewer fold onto one another at too many periods."""
ONE = 4294967296.0


@njit("f8(f8[::1], f8[::1], f8, f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
def _best_boxes(sw: Floats, sy: Floats, least: float, cw: Floats, cy: Floats, best: Floats) -> float:
    """Gain of the best pair of boxes in bins; writes its first bin and width. Sums run over two periods."""
    for b in range(BINS):
        cw[b + 1], cy[b + 1] = cw[b] + sw[b], cy[b] + sy[b]
    total_w, total_y = cw[BINS], cy[BINS]
    for b in range(BINS):
        cw[BINS + b + 1], cy[BINS + b + 1] = total_w + cw[b + 1], total_y + cy[b + 1]
    gain = 0.0
    half = BINS // 2
    for width in WIDTHS:
        for b in range(BINS):
            c = b + half if b < half else b - half
            wa, ya = cw[b + width] - cw[b], cy[b + width] - cy[b]
            wb, yb = cw[c + width] - cw[c], cy[c + width] - cy[c]
            wr, yr = total_w - wa - wb, total_y - ya - yb
            # The first box is the deeper: fainter than the rest, and no second box brighter.
            if not (wa > 0.0 and wr > 0.0) or wa + wb < least or ya * wr <= yr * wa or yb * wa > ya * wb:
                continue
            if wb > 0.0 and yb * wr > yr * wb:
                this = ya * ya / wa + yr * yr / wr + yb * yb / wb
            else:
                this = ya * ya / wa + (yb + yr) ** 2 / (wb + wr)
            if this > gain:
                gain = this
                best[0], best[1] = b, width
    return gain - total_y * total_y / total_w


@njit("void(f8[::1], f8[::1], f8[::1], f8, f8, f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
def scan(
    t: Floats, y: Floats, w: Floats, first: float, df: float, gains: Floats, phases: Floats, widths: Floats
) -> None:
    """Write the gain in chi square of two dips at frequencies first + k df, and where they lie.

    Parameters
    ----------
    t, y, w : (N) float64
        Days, magnitudes, weights.
    first, df : float
        Per day.
    gains, phases, widths : (n) float64, written
        Gain; phase of the middle of the deeper dip (0 at t = 0); width of the box in phase.
    """
    n = len(t)
    # Phases as whole numbers of 2^-32: they wrap by themselves.
    phase, step = np.empty(n, np.uint32), np.empty(n, np.uint32)
    for i in range(n):
        phase[i] = np.uint32(np.uint64(((first * t[i]) % 1.0) * ONE))
        step[i] = np.uint32(np.uint64(((df * t[i]) % 1.0) * ONE))
    sw, sy, best = np.empty(BINS), np.empty(BINS), np.zeros(2)
    least = LEAST * np.median(w)
    cw, cy = np.zeros(2 * BINS + 1), np.zeros(2 * BINS + 1)
    for f in range(len(gains)):
        sw[:], sy[:] = 0.0, 0.0
        for i in range(n):
            b = np.int64((np.uint64(phase[i]) * np.uint64(BINS)) >> np.uint64(32))
            sw[b] += w[i]
            sy[b] += w[i] * y[i]
            phase[i] = np.uint32(phase[i] + step[i])
        gains[f] = _best_boxes(sw, sy, least, cw, cy, best)
        phases[f] = ((best[0] + 0.5 * best[1]) / BINS) % 1.0
        widths[f] = best[1] / BINS
