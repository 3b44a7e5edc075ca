"""Matched filter of an image, row by row, and the peaks of what comes out: compiled kernels.

The image is read once. Only as many filtered rows are kept as a peak needs around it, so that everything
stays in the processor's cache and no second image is made.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
END_PIXELS = 3
"""A gap is bridged between the means of so many pixels before and after it: one alone is too noisy."""
PEAK_COLUMNS = 6
"""x, y, filtered value, noise of a pixel, mean filtered value of the ring, 1 if its own pixel is unusable."""


@compiled("f8(f4[:, ::1], f8, f8, f8)", cache=True, nogil=True)
def mesh_at(values: Image, cell: float, x: float, y: float) -> float:
    """Return a mesh (see `zsds_tasks.pixels.mesh.Mesh`) at one 0-based position."""
    rows, columns = values.shape
    v = min(max((y + 0.5) / cell - 0.5, 0.0), rows - 1.0)
    u = min(max((x + 0.5) / cell - 0.5, 0.0), columns - 1.0)
    i, j = min(int(v), max(rows - 2, 0)), min(int(u), max(columns - 2, 0))
    i1, j1 = min(i + 1, rows - 1), min(j + 1, columns - 1)
    a, b = v - i, u - j
    top = values[i, j] * (1 - b) + values[i, j1] * b
    bottom = values[i1, j] * (1 - b) + values[i1, j1] * b
    return top * (1 - a) + bottom * a


@compiled("f4(f4[::1], b1[::1], i8, i8)", cache=True, nogil=True)
def _end_value(line: Image, is_bad: NDArray[np.bool_], start: int, step: int) -> np.float32:
    """Return the mean of the usable pixels from `start` on, up to three and up to the next gap; 0 if none."""
    total, n = np.float32(0.0), 0
    for k in range(END_PIXELS):
        x = start + k * step
        if x < 0 or x >= line.size or is_bad[x]:
            break
        total += line[x]
        n += 1
    return total / np.float32(max(n, 1))


@compiled("void(f4[::1], b1[::1], f4, f4)", cache=True, nogil=True)
def bridge_gaps(line: Image, is_bad: NDArray[np.bool_], bright: np.float32, variance: np.float32) -> None:
    """Fill the unusable pixels of a row: linearly, and between bright ends with a hump.

    A saturated star so becomes one peak in its middle instead of a rim of peaks.

    Parameters
    ----------
    line : numpy.ndarray (nx), float32
        Filled in place.
    is_bad : numpy.ndarray (nx), bool
    bright : float32
        Ends whose mean is above this get the hump.
    variance : float32
        Of the filter, square pixels: scale of the hump.
    """
    nx = line.size
    x = 0
    while x < nx:
        if not is_bad[x]:
            x += 1
            continue
        first = x
        while x < nx and is_bad[x]:
            x += 1
        left = _end_value(line, is_bad, first - 1, -1)
        right = _end_value(line, is_bad, x, 1)
        half = np.float32(x - first + 1) / np.float32(2.0)
        is_hump = left + right > np.float32(2.0) * bright
        for k in range(first, x):
            share = np.float32(k - first + 1) / np.float32(x - first + 1)
            value = left + share * (right - left)
            if is_hump:
                off = np.float32(k - first + 1) - half
                value *= np.float32(1.0) + (half * half - off * off) / (np.float32(2.0) * variance)
            line[k] = value


@compiled("b1(f4[:, ::1], u2[:, ::1], i8, i8, f4[::1], b1[::1])", cache=True, nogil=True)
def _load_row(
    image: Image, mask: NDArray[np.uint16], row: int, bits: int, line: Image, is_bad: NDArray[np.bool_]
) -> bool:
    """Copy a row; return whether it has unusable pixels."""
    wanted = np.uint16(bits)
    n_bad = 0
    for x in range(line.size):
        value = image[row, x]
        bad = ((mask[row, x] & wanted) != 0) | (not math.isfinite(value))
        line[x] = value
        is_bad[x] = bad
        n_bad += bad
    return n_bad > 0


@compiled("void(f4[::1], f4[::1], f4[::1])", cache=True, nogil=True, fastmath=True)
def _filter_row(line: Image, kernel: Image, out: Image) -> None:
    """Convolve a row, zero beyond its ends, with a symmetric kernel given from its middle on."""
    nx, half = line.size, kernel.size - 1
    for x in range(nx):
        out[x] = kernel[0] * line[x]
    for k in range(1, half + 1):
        for x in range(nx - k):
            out[x] += kernel[k] * line[x + k]
        for x in range(k, nx):
            out[x] += kernel[k] * line[x - k]


@compiled("void(f4[:, ::1], i8, i8, f4[::1], f4[::1])", cache=True, nogil=True, fastmath=True)
def _filter_column(rows: Image, row: int, ny: int, kernel: Image, out: Image) -> None:
    """Convolve across the rows kept (row r of the image in slot r modulo their number)."""
    slots, half = rows.shape[0], kernel.size - 1
    middle = rows[row % slots]
    for x in range(out.size):
        out[x] = kernel[0] * middle[x]
    for k in range(1, half + 1):
        if row - k >= 0 and row + k < ny:
            above, below = rows[(row + k) % slots], rows[(row - k) % slots]
            for x in range(out.size):
                out[x] += kernel[k] * (above[x] + below[x])
        elif row - k >= 0 or row + k < ny:
            other = rows[(row - k if row - k >= 0 else row + k) % slots]
            for x in range(out.size):
                out[x] += kernel[k] * other[x]


@compiled("f8(f4[:, ::1], i8, i8, i8, i8[:, ::1])", cache=True, nogil=True)
def _ring_value(filtered: Image, row: int, x: int, ny: int, ring: NDArray[np.int64]) -> float:
    """Return the mean filtered value on a ring (offsets in row and column) as far as it lies inside."""
    slots, nx = filtered.shape
    total, n = 0.0, 0
    for k in range(ring.shape[0]):
        i, j = row + ring[k, 0], x + ring[k, 1]
        if 0 <= i < ny and 0 <= j < nx:
            total += filtered[i % slots, j]
            n += 1
    return total / max(n, 1)


@compiled("f8(f8, f8, f8)", cache=True, nogil=True)
def _vertex(before: float, middle: float, after: float) -> float:
    """Return where a Gaussian through three equidistant values peaks, in units of their distance."""
    if before > 0.0 and after > 0.0:
        before, middle, after = math.log(before), math.log(middle), math.log(after)
    bend = before - 2.0 * middle + after
    return 0.0 if bend >= 0.0 else min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@compiled(
    "i8(f4[:, ::1], i8, i8, f4, f4[:, ::1], f8, i8[:, ::1], u1[:, ::1], f8[:, ::1], i8)",
    cache=True,
    nogil=True,
)
def _row_peaks(
    filtered: Image,
    row: int,
    ny: int,
    least: np.float32,
    noise: Image,
    cell: float,
    ring: NDArray[np.int64],
    bad: NDArray[np.uint8],
    out: Floats,
    n: int,
) -> int:
    """Write the local maxima of a row to `out` from row `n` on; return how many there are then."""
    slots, nx = filtered.shape
    here = filtered[row % slots]
    above, below = filtered[(row + 1) % slots], filtered[(row - 1) % slots]
    for x in range(1, nx - 1):
        value = here[x]
        # Of equal neighbours the last in reading order is the peak.
        if value < least or not (value >= here[x - 1] and value > here[x + 1]):
            continue
        if not (value >= below[x] and value >= below[x - 1] and value >= below[x + 1]):
            continue
        if not (value > above[x] and value > above[x - 1] and value > above[x + 1]):
            continue
        if n < out.shape[0]:
            out[n, 0] = x + _vertex(here[x - 1], value, here[x + 1])
            out[n, 1] = row + _vertex(below[x], value, above[x])
            out[n, 2] = value
            out[n, 3] = mesh_at(noise, cell, x, row)
            out[n, 4] = _ring_value(filtered, row, x, ny, ring)
            out[n, 5] = bad[row % bad.shape[0], x]
        n += 1
    return n


@compiled(
    "i8(f4[:, ::1], u2[:, ::1], i8, f4[:, ::1], f8, f4[::1], f4, f4, i8[:, ::1], f8[:, ::1], i8, i8)",
    cache=True,
    nogil=True,
)
def filtered_peaks(
    image: Image,
    mask: NDArray[np.uint16],
    bits: int,
    noise: Image,
    cell: float,
    kernel: Image,
    least: np.float32,
    bright: np.float32,
    ring: NDArray[np.int64],
    out: Floats,
    first: int,
    last: int,
) -> int:
    """Filter the rows `first` to `last` of an image and list the local maxima.

    Parameters
    ----------
    image, mask, bits
        See `zsds_tasks.pixels.peaks.detect_peaks`.
    noise, cell
        Values and cell of the noise mesh.
    kernel : numpy.ndarray (half + 1), float32
        The symmetric filter of both axes from its middle on.
    least : float32
        Filtered values below are no peaks.
    bright : float32
        Ends of gaps above are those of a hidden peak.
    ring : numpy.ndarray (R, 2), int64
        Offsets (row, column) of the ring around a peak.
    out : numpy.ndarray (N, 6), float64
        See `PEAK_COLUMNS`.
    first, last : int
        Rows, the last not included; peaks on the first and last row of the band are not seen.

    Returns
    -------
    int
        How many there are; more than N if `out` was too short.
    """
    nx, ny = image.shape[1], last - first
    half, reach = kernel.size - 1, 1
    for k in range(ring.shape[0]):
        reach = max(reach, ring[k, 0])
    line, is_bad = np.empty(nx, np.float32), np.empty(nx, np.bool_)
    rows = np.empty((2 * half + 1, nx), np.float32)
    filtered = np.empty((2 * reach + 1, nx), np.float32)
    bad = np.empty((half + reach + 1, nx), np.uint8)
    variance = np.float32(0.5 / max(math.log(kernel[0] / kernel[1]), 1e-3)) if half > 0 else np.float32(1.0)
    n = 0
    for step in range(ny + half + reach):
        if step < ny:
            has_gaps = _load_row(image, mask, first + step, bits, line, is_bad)
            if has_gaps:
                bridge_gaps(line, is_bad, bright, variance)
            slot = bad[step % bad.shape[0]]
            for x in range(nx):
                slot[x] = is_bad[x]
            _filter_row(line, kernel, rows[step % rows.shape[0]])
        row = step - half
        if 0 <= row < ny:
            _filter_column(rows, row, ny, kernel, filtered[row % filtered.shape[0]])
        row -= reach
        if 1 <= row < ny - 1:
            n = _row_peaks(filtered, row, ny, least, noise, cell, ring, bad, out, n)
    for k in range(min(n, out.shape[0])):
        out[k, 1] += first
    return n
