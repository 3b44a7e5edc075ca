"""Search for eclipses: two dips half a period apart in folded light curves; compiled.

The box search of Kovacs, Zucker and Mazeh (2002, A&A 391, 369) with two boxes of free depths: a binary is
found at its own period, of whatever depths its eclipses are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Floats = NDArray[np.float64]
BINS = 40
"""Bins of a period."""
WIDTHS = (2, 3, 5)
"""Of the boxes, in bins."""
LEAST = 3
"""Epochs of middling weight within the dips: fewer fold onto one another at too many periods."""
ONE = 4294967296.0


@compiled("f8(f8[::1], f8[::1], i8, f8, f8[::1])", cache=True, nogil=True, error_model="numpy")
def _pairs(cw: Floats, cy: Floats, width: int, least: float, gains: Floats) -> float:
    """Write what each pair of boxes half a period apart explains (BINS / 2) and return the most.

    Written without branches: it runs in lanes.
    """
    half = BINS // 2
    total_w, total_y = cw[BINS], cy[BINS]
    for b in range(half):
        c = b + half
        wb, yb = cw[b + width] - cw[b], cy[b + width] - cy[b]
        wc, yc = cw[c + width] - cw[c], cy[c + width] - cy[c]
        wr, yr = total_w - wb - wc, total_y - yb - yc
        # The first is the deeper, and fainter than the rest; the second counts if it is fainter too.
        swap = (yc * wb > yb * wc) | (wb <= 0.0)
        w1, y1 = wc if swap else wb, yc if swap else yb
        w2, y2 = wb if swap else wc, yb if swap else yc
        both = (w2 > 0.0) & (y2 * wr > yr * w2)
        wj, yj = wr if both else wr + w2, yr if both else yr + y2
        second = y2 * y2 / w2
        this = y1 * y1 / w1 + yj * yj / wj + (second if both else 0.0)
        valid = (w1 > 0.0) & (wr > 0.0) & (w1 + w2 >= least) & (y1 * wr > yr * w1)
        gains[b] = this if valid else 0.0
    most = 0.0
    for b in range(half):
        most = max(most, gains[b])
    return most


@compiled("f8(f8[::1], f8[::1], f8, f8[::1], f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
def _best_boxes(
    sw: Floats, sy: Floats, least: float, cw: Floats, cy: Floats, gains: Floats, best: Floats
) -> float:
    """Gain of the best pair of boxes in bins; writes its first bin and width. Sums run over two periods."""
    for b in range(BINS):
        cw[b + 1], cy[b + 1] = cw[b] + sw[b], cy[b] + sy[b]
    total_w, total_y = cw[BINS], cy[BINS]
    for b in range(BINS):
        cw[BINS + b + 1], cy[BINS + b + 1] = total_w + cw[b + 1], total_y + cy[b + 1]
    gain = 0.0
    half = BINS // 2
    for width in WIDTHS:
        most = _pairs(cw, cy, width, least, gains)
        if most <= gain:
            continue
        gain = most
        b = 0
        while gains[b] < most:
            b += 1
        c = b + half
        wb, wc = cw[b + width] - cw[b], cw[c + width] - cw[c]
        second = (cy[c + width] - cy[c]) * wb > (cy[b + width] - cy[b]) * wc or wb <= 0.0
        best[0], best[1] = c if second else b, width
    return gain - total_y * total_y / total_w


@compiled("void(f8[::1], f8[::1], f8[::1], f8, f8, f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
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
    sw, sy, best, pairs = np.empty(BINS), np.empty(BINS), np.zeros(2), np.empty(BINS // 2)
    least = LEAST * np.median(w)
    wy, cw, cy = w * y, np.zeros(2 * BINS + 1), np.zeros(2 * BINS + 1)
    for f in range(len(gains)):
        sw[:], sy[:] = 0.0, 0.0
        for i in range(n):
            b = np.int64((np.uint64(phase[i]) * np.uint64(BINS)) >> np.uint64(32))
            sw[b] += w[i]
            sy[b] += wy[i]
            phase[i] = np.uint32(phase[i] + step[i])
        gains[f] = _best_boxes(sw, sy, least, cw, cy, pairs, best)
        phases[f] = ((best[0] + 0.5 * best[1]) / BINS) % 1.0
        widths[f] = best[1] / BINS
