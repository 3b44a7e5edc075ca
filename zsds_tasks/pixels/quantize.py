"""Floats as integers and back, with subtractive dithering: what FITS tile compression does to float images.

Rounding to steps of a fraction of the noise keeps sums and means right only if the errors are random; so a
number known to the reader is added before and subtracted after. Source: FITS Standard 4.0, section 10.2;
W. D. Pence et al. 2009, PASP 121, 414 (noise from differences of pixels, quantisation level).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

N_RANDOM = 10_000
PARK_MILLER_END = 1_043_618_065
"""The seed after 10,000 numbers, by which the standard lets a generator be checked."""
START_RANGE = np.float32(500)
BLANK = -2147483647
"""Integer of an undefined pixel (ZBLANK), as cfitsio writes it."""
RESERVED = 10
"""Integers above it that stay unused."""
EXACT_ZERO = -2147483646
"""Integer of an exact zero under the second method of dithering."""
LARGEST = 2147483647
NOT_DITHERED, DITHERED, DITHERED_KEEPING_ZERO = 0, 1, 2

MIN_SAMPLE = 4096
"""Pixels of a tile whose differences give its noise, if it has so many: 2.5 per cent of it by chance."""
SMALLEST_TILE = 9
"""Pixels that the longest difference needs."""
TO_SIGMA = np.array([1.0483579, 0.6052697, 0.1772048])
"""Noise over the median of absolute differences of second, third and fifth order (Pence et al. 2009)."""

Image = NDArray[np.float32]
Integers = NDArray[np.int32]


@lru_cache(maxsize=1)
def random_numbers() -> Image:
    """Return the standard's 10,000 random numbers in [0, 1), float32 (Park and Miller's generator)."""
    numbers, seed = np.empty(N_RANDOM), 1
    for n in range(N_RANDOM):
        seed = seed * 16807 % 2147483647
        numbers[n] = seed / 2147483647
    if seed != PARK_MILLER_END:
        raise AssertionError(f"the generator ended at {seed}, not at {PARK_MILLER_END}")
    numbers.flags.writeable = False
    return numbers.astype(np.float32)


@compiled("f8(f4[::1])", cache=True, nogil=True)
def tile_noise(values: Image) -> float:
    """Return the noise of a tile: the least of its differences of second, third and fifth order.

    Parameters
    ----------
    values : (n) float32
        Pixels in order; NaN where undefined.

    Returns
    -------
    float
        0 if neighbours are mostly equal or there are fewer than nine.
    """
    if values.size < SMALLEST_TILE:
        return 0.0
    # Pieces from all over the tile: of its 100,000 pixels a few thousand are enough.
    n_pieces = 16
    piece = max(MIN_SAMPLE // n_pieces, 1)
    centres = values.size - SMALLEST_TILE + 1
    if centres <= MIN_SAMPLE:
        n_pieces, piece = 1, centres
    sample = np.empty((3, n_pieces * piece), np.float32)
    n = 0
    for part in range(n_pieces):
        start = 0 if n_pieces == 1 else part * (centres - piece) // (n_pieces - 1)
        for k in range(start + 4, start + piece + 4):
            v1, v3, v5, v7, v9 = values[k - 4], values[k - 2], values[k], values[k + 2], values[k + 4]
            fifth = abs(6 * v5 - 4 * v3 - 4 * v7 + v1 + v9)
            if fifth < np.inf:
                sample[0, n], sample[1, n], sample[2, n] = abs(v5 - v7), abs(2 * v5 - v3 - v7), fifth
                n += 1
    least = 0.0
    for order in range(3):
        if n > 0:
            noise = TO_SIGMA[order] * np.median(sample[order, :n])
            if noise > 0 and (least == 0 or noise < least):
                least = noise
    return least


@compiled("Tuple((f4, f4, i8))(f4[::1])", cache=True, nogil=True, error_model="numpy")
def tile_range(values: Image) -> tuple[np.float32, np.float32, int]:
    """Return the least and largest number of a tile and how many are NaN; (inf, -inf) if all are."""
    low, high, undefined = np.float32(np.inf), np.float32(-np.inf), 0
    for value in values:
        low = value if value < low else low  # noqa: FURB136 - NaN must lose
        high = value if value > high else high  # noqa: FURB136 - the same
        undefined += value != value  # noqa: PLR0124 - NaN
    return low, high, undefined


@compiled("void(f4[::1], f8, f8, i8, f4[::1], i8, i4[::1])", cache=True, nogil=True)
def quantize(
    values: Image, zero: float, step: float, offset: int, random: Image, tile: int, out: Integers
) -> None:
    """Round the pixels of a tile to steps, dithered.

    Parameters
    ----------
    values : (n) float32
        NaN becomes `BLANK`.
    zero, step : float
        Pixels are counted in steps from zero; they all are within 2^31 of them.
    offset : int
        Added to the counts.
    random : (10000) float32
        From `random_numbers`.
    tile : int
        Number of the tile from 0, plus ZDITHER0 - 1.
    out : (n) int32
    """
    inverse, above, blank = 1.0 / step, np.float64(offset), np.float64(BLANK)
    seed = tile % N_RANDOM
    start = 0
    while start < values.size:
        first = int(random[seed] * START_RANGE)
        n = min(N_RANDOM - first, values.size - start)
        part, dither, counts = values[start : start + n], random[first : first + n], out[start : start + n]
        for k in range(n):  # without branches or 64-bit integers: four pixels at a time
            value = np.float64(part[k])
            count = np.floor((value - zero) * inverse + np.float64(dither[k])) + above
            counts[k] = np.int32(count if value == value else blank)  # noqa: PLR0124 - NaN
        start += n
        seed = (seed + 1) % N_RANDOM


@compiled("void(i4[::1], f8, f8, i8, i8, f4[::1], i8, f4[::1])", cache=True, nogil=True)
def dequantize(
    counts: Integers, zero: float, step: float, blank: int, method: int, random: Image, tile: int, out: Image
) -> None:
    """Give a tile's pixels back.

    Parameters
    ----------
    counts : (n) int32
    zero, step : float
        ZZERO and ZSCALE.
    blank : int
        Becomes NaN; a number beyond 32 bits if there is none.
    method : int
        0 none, 1 or 2 subtractive dithering; under 2, `EXACT_ZERO` becomes 0.
    random : (10000) float32
    tile : int
        As in `quantize`.
    out : (n) float32
    """
    dithered, undefined = (0.0 if method == NOT_DITHERED else 1.0), np.float64(blank)
    seed = tile % N_RANDOM
    start = 0
    while start < counts.size:
        first = int(random[seed] * START_RANGE)
        n = min(N_RANDOM - first, counts.size - start)
        stored, dither, part = counts[start : start + n], random[first : first + n], out[start : start + n]
        for k in range(n):
            count = np.float64(stored[k])
            value = (count + dithered * (0.5 - np.float64(dither[k]))) * step + zero
            part[k] = np.float32(np.nan if count == undefined else value)
        if method == DITHERED_KEEPING_ZERO:
            for k in range(start, start + n):
                out[k] = np.float32(0) if counts[k] == EXACT_ZERO else out[k]
        start += n
        seed = (seed + 1) % N_RANDOM
