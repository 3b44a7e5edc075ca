"""Compiled loops of the sky measurement: a rough value of every cell from a sample, a fine one from all."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image

Mask = NDArray[np.uint16]
SAMPLE = 320
"""Pixels of a cell that its rough value is taken from."""
REACH = 2
"""The surroundings of a pixel are the 5 x 5 pixels around it, without it."""
AROUND = (2 * REACH + 1) ** 2 - 1
BLOCKED = 1.0e6
"""What an unusable pixel counts as, in sigma: nothing around it is used."""
BINS_PER_SIGMA = 24
HALF_SPAN = 6
"""Of the histogram, sigma."""
SKIPS = (4, 4, 1)
"""Rows per row that is looked at, in each round: a part is enough until the last one."""


@compiled("UniTuple(f4, 2)(f4[::1])", cache=True)
def _clipped_median(ordered: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Return median and noise of sorted values; the noise is that of their lower half, where no source is."""
    first, last = 0, len(ordered)
    middle, sigma = np.float32(np.nan), np.float32(np.nan)
    for _ in range(8):
        n = last - first
        if n < 16:
            break
        middle = ordered[first + n // 2]
        sigma = (middle - ordered[first + int(0.158655 * n)]) + np.float32(1e-6) * abs(middle)
        before = n
        while ordered[last - 1] > middle + 3 * sigma:
            last -= 1
        while ordered[first] < middle - 4 * sigma:
            first += 1
        if last - first == before:
            break
    return middle, sigma


@compiled("void(f4[:, ::1], u2[:, ::1], u2, i8, f4[:, :, ::1])", cache=True, nogil=True)
def coarse_cells(image: Image, mask: Mask, bits: np.uint16, cell: int, out: NDArray[np.float32]) -> None:
    """Set level and noise (2, rows, columns) from clipped medians of a sample; NaN for too few pixels."""
    ny, nx = image.shape
    sample = np.empty(2 * SAMPLE, np.float32)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            y0, y1 = i * cell, min((i + 1) * cell, ny)
            x0, x1 = j * cell, min((j + 1) * cell, nx)
            width = x1 - x0
            # A stride that is no divisor of the width, so that the sample does not sit on few columns.
            stride = max(1, (y1 - y0) * width // SAMPLE)
            if stride > 1 and width % stride == 0:
                stride -= 1 if stride > 2 else 0
            n = 0
            for k in range(0, (y1 - y0) * width, stride):
                y, x = y0 + k // width, x0 + k % width
                if n < len(sample) and (mask[y, x] & bits) == 0 and math.isfinite(image[y, x]):
                    sample[n] = image[y, x]
                    n += 1
            out[0, i, j], out[1, i, j] = _clipped_median(np.sort(sample[:n]))


@njit(cache=True)
def _load(
    image: Image,
    mask: Mask,
    bits: np.uint16,
    place: tuple[int, int, int],
    start: NDArray[np.float32],
    offset: Image,
) -> None:
    """Copy a cell and a rim around it as offsets from its rough plane, in rough sigma."""
    i, j, cell = place
    ny, nx = image.shape
    scale = np.float32(1) / start[1, i, j]
    down, across = start[2, i, j] / np.float32(cell), start[3, i, j] / np.float32(cell)
    centre = np.float32((cell - 1) / 2)
    left = max(j * cell - REACH, 0)
    right = min((j + 1) * cell + REACH, nx)
    shift = REACH - j * cell
    for v in range(offset.shape[0]):
        y = i * cell + v - REACH
        # Beyond the image its border is mirrored.
        y = -y if y < 0 else y
        y = max(2 * ny - 2 - y, 0) if y >= ny else y
        base = start[0, i, j] + down * (np.float32(y - i * cell) - centre)
        for x in range(left, right):
            value = image[y, x]
            d = (value - base - across * (np.float32(x - j * cell) - centre)) * scale
            good = ((mask[y, x] & bits) == 0) & (abs(d) < np.float32(BLOCKED))
            offset[v, x + shift] = d if good else np.float32(BLOCKED)
        for x in range(left + shift):
            offset[v, x] = offset[v, min(2 * REACH - x, right + shift - 1)]
        for u in range(right + shift, offset.shape[1]):
            offset[v, u] = offset[v, max(2 * (right + shift) - 2 - u, 0)]


@compiled("void(f4[:, ::1], f4[::1], f4[:, ::1], i8, i8)", cache=True, fastmath=True)
def _surroundings(offset: Image, sums: Image, around: Image, height: int, width: int) -> None:
    """Set the mean of the pixels around each pixel of a cell, in sigma of that mean."""
    factor = np.float32(1 / math.sqrt(AROUND))
    for y in range(height):
        for u in range(width + 2 * REACH):
            sums[u] = offset[y, u] + offset[y + 1, u] + offset[y + 2, u] + offset[y + 3, u] + offset[y + 4, u]
        for x in range(width):
            total = sums[x] + sums[x + 1] + sums[x + 2] + sums[x + 3] + sums[x + 4]
            around[y, x] = (total - offset[y + REACH, x + REACH]) * factor


@compiled("i8(f4[:, ::1], f4[:, ::1], i8, i8, i8, f4, i4[::1])", cache=True)
def _count(
    offset: Image,
    around: Image,
    height: int,
    width: int,
    skip: int,
    limit: np.float32,
    counts: NDArray[np.int32],
) -> int:
    """Fill the histogram of pixels whose surroundings are under the limit; return how many it holds."""
    counts[:] = 0
    scale, half = np.float32(BINS_PER_SIGMA), np.float32(HALF_SPAN)
    n = 0
    for y in range(0, height, skip):
        for x in range(width):
            if around[y, x] < limit:
                value = offset[y + REACH, x + REACH] + half
                if np.float32(0) <= value < np.float32(2) * half:
                    counts[int(value * scale)] += 1
                    n += 1
    return n


@compiled("UniTuple(f8, 2)(i4[::1], i8, f8)", cache=True)
def _read_counts(counts: NDArray[np.int32], n: int, clip: float) -> tuple[float, float]:
    """Return median and noise of a histogram: the noise from the pixels within `clip` sigma of the median."""
    below, k = 0, 0
    while below + counts[k] < 0.5 * n:
        below += counts[k]
        k += 1
    median = k + (0.5 * n - below) / counts[k]
    # Of a normal distribution cut at +-clip, this much of the variance is left.
    edge = math.exp(-0.5 * clip * clip) * clip * math.sqrt(2 / math.pi)
    left = 1 - edge / math.erf(clip / math.sqrt(2))
    sigma = len(counts) / 6.0
    for _ in range(12):
        first = max(int(median - clip * sigma), 0)
        last = min(int(median + clip * sigma) + 1, len(counts))
        total, square = 0, 0.0
        for b in range(first, last):
            d = b + 0.5 - median
            total += counts[b]
            square += counts[b] * d * d
        if total == 0:
            break
        # The bins themselves add the variance of a uniform distribution.
        fresh = math.sqrt(max(square / total - 1 / 12.0, 1 / 12.0) / left)
        if abs(fresh - sigma) < 1e-4 * sigma:
            sigma = fresh
            break
        sigma = fresh
    return median / BINS_PER_SIGMA - HALF_SPAN, sigma / BINS_PER_SIGMA


@njit(cache=True)
def _settle(
    offset: Image,
    around: Image,
    size: tuple[int, int],
    limits: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> tuple[float, float]:
    """Return median and noise of the used pixels of a cell, in rough sigma; NaN if they are too few.

    Which pixels are used depends on level and noise: a few rounds, from above, settle it.
    """
    middle, noise = 0.0, 1.0
    for skip in SKIPS:
        limit = math.sqrt(AROUND) * middle + limits[0] * noise
        n = _count(offset, around, size[0], size[1], skip, np.float32(limit), counts)
        if n * skip < limits[2]:
            return np.nan, np.nan
        middle, noise = _read_counts(counts, n, limits[1])
    return middle, noise


@compiled(
    "void(f4[:, ::1], u2[:, ::1], u2, i8, f4[:, :, ::1], f8[::1], f4[:, :, ::1])", cache=True, nogil=True
)
def fine_cells(
    image: Image,
    mask: Mask,
    bits: np.uint16,
    cell: int,
    start: NDArray[np.float32],
    limits: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Set level and noise (2, rows, columns) of the cells' middles; NaN where too few pixels are used.

    `start` holds rough level, rough noise, slope along y and along x per cell (4, rows, columns); `limits`
    are patch_sigma, clip_sigma and min_pixels.
    """
    rows, columns = out.shape[1], out.shape[2]
    wide = cell + 2 * REACH
    offset, around = np.empty((wide, wide), np.float32), np.empty((cell, cell), np.float32)
    sums = np.empty(wide, np.float32)
    counts = np.empty(2 * HALF_SPAN * BINS_PER_SIGMA, np.int32)
    for i in range(rows):
        for j in range(columns):
            sigma = start[1, i, j]
            if not sigma > 0:
                out[0, i, j], out[1, i, j] = np.nan, np.nan
                continue
            height, width = min(cell, image.shape[0] - i * cell), min(cell, image.shape[1] - j * cell)
            _load(image, mask, bits, (i, j, cell), start, offset)
            _surroundings(offset, sums, around, height, width)
            middle, noise = _settle(offset, around, (height, width), limits, counts)
            out[0, i, j] = start[0, i, j] + np.float32(middle) * sigma
            out[1, i, j] = np.float32(noise) * sigma
