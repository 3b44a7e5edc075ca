"""Compiled part of `coadd`: median, scatter and clipped mean of a stack, many pixels of a row at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Counts = NDArray[np.int16]
CHUNK = 512
"""Pixels of a row worked on at once: a stack of 40 is 80 kB, so it stays close to the core."""
BIG = np.float32(3e38)  # sorts behind every sample
SIGMA_PER_MAD = np.float32(1.4826)
REACH = 2
"""Pixels on every side in which a brighter median makes samples free to differ."""
SLOTS = 2 * REACH + 1
MAD_FROM = 5
"""Samples from which their own scatter means something."""
ALL_KEPT_TO = 2
"""Samples up to which nothing says which of them is wrong."""


@compiled("void(f4[:, ::1], i8[:, ::1])", cache=True, nogil=True, fastmath={"nnan", "nsz"})
def sort_columns(work: Image, network: NDArray[np.int64]) -> None:
    """Sort every column in place: comparators of a network, each over all columns."""
    for c in range(network.shape[0]):
        low, high = work[network[c, 0]], work[network[c, 1]]
        for x in range(work.shape[1]):
            a, b = low[x], high[x]
            # min(a, b) written so that it is always stored: stores under a mask take six times as long.
            low[x], high[x] = -max(-a, -b), max(a, b)


@compiled("void(f4[:, ::1], i4[::1], i8, f4[::1], f4[::1])", cache=True, nogil=True, fastmath={"nnan", "nsz"})
def middles(work: Image, count: NDArray[np.int32], width: int, middle: Image, scatter: Image) -> None:
    """Write the median and 1.4826 MAD of sorted columns; the lower median and 0 of fewer than five.

    The MAD is the smallest distance from the median that half of the samples and one more lie in: sorted,
    these are neighbours, so it is found without sorting distances. For even numbers it is the upper of two
    medians.
    """
    total = work.shape[0]
    half = total // 2 + 1
    if total >= MAD_FROM:
        low, high = work[(total - 1) // 2], work[total // 2]
        for x in range(width):
            middle[x], scatter[x] = np.float32(0.5) * (low[x] + high[x]), BIG
        for i in range(total - half + 1):
            first, last = work[i], work[i + half - 1]
            for x in range(width):
                a, b = middle[x] - first[x], last[x] - middle[x]
                scatter[x] = -max(-scatter[x], -max(a, b))
        for x in range(width):
            scatter[x] *= SIGMA_PER_MAD
    for x in range(width):
        n = count[x]
        if n == total and total >= MAD_FROM:
            continue
        middle[x], scatter[x] = work[max((n - 1) // 2, 0), x], np.float32(0)
        if n >= MAD_FROM:
            centre = np.float32(0.5) * (middle[x] + work[n // 2, x])
            least = BIG
            for i in range(n - n // 2):
                least = min(least, max(centre - work[i, x], work[i + n // 2, x] - centre))
            middle[x], scatter[x] = centre, SIGMA_PER_MAD * least


@compiled("void(f4[:, :, ::1], f8, f8, f4[::1])", cache=True, nogil=True, error_model="numpy")
def _noise_at(sky: Image, row: float, column: float, out: Image) -> None:
    """Write the sky variance of every epoch at a place given in nodes."""
    i, j = min(int(row), sky.shape[1] - 2), min(int(column), sky.shape[2] - 2)
    t, u = np.float32(row - i), np.float32(column - j)
    one = np.float32(1)
    for k in range(sky.shape[0]):
        lower = (one - u) * sky[k, i, j] + u * sky[k, i, j + 1]
        upper = (one - u) * sky[k, i + 1, j] + u * sky[k, i + 1, j + 1]
        value = (one - t) * lower + t * upper
        out[k] = value * value


@compiled(
    "void(f4[:, :, ::1], i8, i8[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], i4[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _describe(
    frames: Image,
    row: int,
    network: NDArray[np.int64],
    work: Image,
    middle: Image,
    scatter: Image,
    brightest: Image,
    count: NDArray[np.int32],
) -> None:
    """Write, into the slot of a row, its medians, scatters, counts and the brightest median along it."""
    n, _, columns = frames.shape
    slot = row % SLOTS
    for start in range(0, columns, CHUNK):
        width = min(CHUNK, columns - start)
        here = slice(start, start + width)
        counts = count[slot, here]
        counts[:] = 0
        work[:, width:] = BIG
        for k in range(n):
            frame, room = frames[k, row, here], work[k]
            for x in range(width):
                known = not np.isnan(frame[x])
                room[x] = frame[x] if known else BIG
                counts[x] += np.int32(1) if known else np.int32(0)
        sort_columns(work, network)
        middles(work, counts, width, middle[slot, here], scatter[slot, here])
    light = np.zeros(columns + 2 * REACH, np.float32)
    for x in range(columns):
        light[x + REACH] = max(middle[slot, x], np.float32(0)) if count[slot, x] > 0 else np.float32(0)
    for x in range(columns):
        a, b = max(light[x], light[x + 4]), max(light[x + 1], light[x + 3])
        brightest[slot, x] = max(a, b, light[x + 2])


@compiled("void(f4[:, :], i4[::1], f4[::1], i8, f4[::1])", cache=True, nogil=True, error_model="numpy")
def _allowances(brightest: Image, count: NDArray[np.int32], rule: Image, width: int, allowed: Image) -> None:
    """Write the square of what light beside allows samples to differ by."""
    for x in range(width):
        near = max(brightest[0, x], brightest[1, x], brightest[2, x], brightest[3, x], brightest[4, x])
        slack = near * (rule[1] if count[x] >= MAD_FROM else rule[2])
        allowed[x] = slack * slack if count[x] > ALL_KEPT_TO else np.float32(np.inf)


@compiled(
    "void(f4[:, :, ::1], i8, i8[:, ::1], f4[:, :, ::1], f8, i8, f4[::1], f4[::1], f4[::1], f4[:, ::1],"
    " f4[:, ::1], i2[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "nsz"},
)
def stack(
    frames: Image,
    margin: int,
    network: NDArray[np.int64],
    sky: Image,
    step: float,
    first_row: int,
    per_flux: Image,
    weight: Image,
    rule: Image,
    mean: Image,
    uncertainty: Image,
    coverage: Counts,
) -> None:
    """Write the clipped mean of the rows after the first `margin`, as many as `mean` has.

    `rule` is (clip, slack, slack of few), see `CoaddConfig`; the first row of `mean` is `first_row` of the
    grid of the noise.
    """
    n, rows, columns = frames.shape
    clip2, zero = rule[0] ** 2, np.float32(0)
    work, noise2 = np.empty((n, CHUNK), np.float32), np.empty(n, np.float32)
    middle, scatter = np.empty((SLOTS, columns), np.float32), np.empty((SLOTS, columns), np.float32)
    brightest, count = np.zeros((SLOTS, columns), np.float32), np.zeros((SLOTS, columns), np.int32)
    room = np.empty((5, CHUNK), np.float32)
    level, allowed, total, weights, variance = room[0], room[1], room[2], room[3], room[4]
    kept = np.empty(CHUNK, np.int32)
    begin = max(0, margin - REACH)
    for row in range(begin, min(margin + REACH, rows)):
        _describe(frames, row, network, work, middle, scatter, brightest, count)
    for row in range(margin, margin + mean.shape[0]):
        if row + REACH < rows:
            _describe(frames, row + REACH, network, work, middle, scatter, brightest, count)
        else:
            brightest[(row + REACH) % SLOTS] = zero
        for start in range(0, columns, CHUNK):
            width = min(CHUNK, columns - start)
            here = slice(start, start + width)
            _noise_at(sky, (first_row + row - margin) / step, (start + width / 2) / step, noise2)
            own_middle, own_scatter = middle[row % SLOTS, here], scatter[row % SLOTS, here]
            counts = count[row % SLOTS, here]
            _allowances(brightest[:, here], counts, rule, width, allowed)
            for x in range(width):
                level[x] = clip2 * own_scatter[x] * own_scatter[x]
                total[x] = weights[x] = variance[x] = zero
                kept[x] = 0
            for k in range(n):
                frame = frames[k, row, here]
                sky2, gain, w = noise2[k], per_flux[k], weight[k]
                for x in range(width):
                    away = frame[x] - own_middle[x]
                    own = sky2 + gain * max(own_middle[x], zero)
                    good = away * away <= max(clip2 * own, level[x]) + allowed[x]  # false without a sample
                    total[x] += w * away if good else zero
                    weights[x] += w if good else zero
                    variance[x] += w * w * own if good else zero
                    kept[x] += np.int32(1) if good else np.int32(0)
            for x in range(width):
                y, some = row - margin, kept[x] > 0
                coverage[y, start + x] = kept[x]
                value, error = own_middle[x] + total[x] / weights[x], np.sqrt(variance[x]) / weights[x]
                mean[y, start + x] = value if some else np.float32(np.nan)
                uncertainty[y, start + x] = error if some else np.float32(np.nan)
