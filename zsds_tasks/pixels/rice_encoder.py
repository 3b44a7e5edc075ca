"""Rice compression of 16-bit images, row by row, as FITS tile compression (RICE_1) defines it.

Pixels are predicted by their left neighbour; the differences of a block of 32, folded to non-negative
integers, are written as a unary quotient and `fs` low bits, with `fs` chosen by the block's mean.
Source: FITS standard 4.0, section 10.4.1. Its inverse is `rice`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK_SIZE = 32
FS_BITS = 4
FS_MAX = 14
PIXEL_BITS = 16
SIGN_OFFSET = 32768  # FITS has no unsigned 16-bit integers: BZERO

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


def compress_rows(image: NDArray[np.uint16]) -> tuple[Bytes, Integers]:
    """Compress every row of an image by itself.

    Parameters
    ----------
    image : (ny, nx) uint16
        At least one pixel per row.

    Returns
    -------
    heap : (n) uint8
        The compressed rows, one after the other.
    lengths : (ny) int64
        Bytes of each row.
    """
    ny, nx = image.shape
    # The most a row can take: its pixels as they are, the blocks' heads, the first pixel and a last byte.
    bound = 2 * nx + nx // BLOCK_SIZE + 8
    heap = np.zeros(ny * bound, np.uint8)
    lengths = np.zeros(ny, np.int64)
    used = _compress(np.ascontiguousarray(image), heap, lengths)
    return heap[:used], lengths


@njit("UniTuple(i8, 3)(u1[::1], i8, i8, i8, i8, i8)", cache=True)
def _put(heap: Bytes, used: int, held: int, n_held: int, value: int, bits: int) -> tuple[int, int, int]:
    """Append up to 32 bits; return bytes used, bits held back (under 8) and how many they are."""
    held, n_held = (held << bits) | value, n_held + bits
    while n_held >= 8:
        n_held -= 8
        heap[used] = (held >> n_held) & 0xFF
        used += 1
    return used, held & 0xFF, n_held


@njit("i8(u2[::1], i8, i8, i8, i8[::1])", cache=True)
def _fold(row: NDArray[np.uint16], first: int, n: int, last: int, folded: Integers) -> int:
    """Fold the differences of a block, 0, -1, 1, -2 ... to 0, 1, 2, 3 ...; return their sum."""
    total = 0
    for k in range(n):
        value = int(row[first + k])
        difference = ((value - last + SIGN_OFFSET) & 0xFFFF) - SIGN_OFFSET  # wraps like a 16-bit integer
        folded[k] = (difference << 1) if difference >= 0 else ~(difference << 1)
        total += folded[k]
        last = value
    return total


@njit("i8(i8, i8)", cache=True)
def _low_bits(total: int, n: int) -> int:
    """Return how many bits of each difference are written as they are."""
    mean = max((total - n // 2 - 1) // n, 0) >> 1
    fs = 0
    while mean > 0:
        fs += 1
        mean >>= 1
    return fs


@njit("i8(u2[:, ::1], u1[::1], i8[::1])", cache=True)
def _compress(image: NDArray[np.uint16], heap: Bytes, lengths: Integers) -> int:
    used = 0
    folded = np.zeros(BLOCK_SIZE, np.int64)
    for y in range(image.shape[0]):
        row, start = image[y], used
        last = np.int64(row[0])
        used, held, n_held = _put(heap, used, 0, 0, (last - SIGN_OFFSET) & 0xFFFF, PIXEL_BITS)
        for first in range(0, row.size, BLOCK_SIZE):
            n = min(BLOCK_SIZE, row.size - first)
            total = _fold(row, first, n, last, folded)
            last = np.int64(row[first + n - 1])
            fs = _low_bits(total, n)
            if total == 0:
                used, held, n_held = _put(heap, used, held, n_held, 0, FS_BITS)
                continue
            is_verbatim = fs >= FS_MAX
            head = FS_MAX + 1 if is_verbatim else fs + 1
            used, held, n_held = _put(heap, used, held, n_held, head, FS_BITS)
            for k in range(n):
                if is_verbatim:
                    used, held, n_held = _put(heap, used, held, n_held, folded[k], PIXEL_BITS)
                    continue
                zeros = folded[k] >> fs
                while zeros >= 16:
                    used, held, n_held = _put(heap, used, held, n_held, 0, 16)
                    zeros -= 16
                low = folded[k] & ((1 << fs) - 1)
                used, held, n_held = _put(heap, used, held, n_held, (1 << fs) | low, zeros + 1 + fs)
        if n_held > 0:
            heap[used] = (held << (8 - n_held)) & 0xFF
            used += 1
        lengths[y] = used - start
    return used
