"""Rice compression of tiles of 16- and 32-bit integers, as FITS tile compression (RICE_1) defines it.

Pixels are predicted by the one before; the differences of a block of 32, folded to non-negative integers,
are written as a unary quotient and `fs` low bits, with `fs` chosen by the block's mean.
Source: FITS standard 4.0, section 10.4.1. Its inverse is `rice`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

BLOCK_SIZE = 32
SIGN_OFFSET = 32768  # FITS has no unsigned 16-bit integers: BZERO
SLACK = 16
"""Bytes behind a stream that the encoder may touch."""

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Bits = Any
"""A 64-bit number without sign, in compiled code."""
_U = np.uint64


def compress_rows(image: NDArray[np.uint16]) -> tuple[Bytes, Integers]:
    """Compress every row of an image by itself; see `compress_tiles`."""
    return compress_tiles(image, 1)


def compress_tiles(image: NDArray[np.uint16], tile_rows: int) -> tuple[Bytes, Integers]:
    """Compress an image in tiles of whole rows.

    Parameters
    ----------
    image : (ny, nx) uint16
        At least one pixel per row.
    tile_rows : int
        Rows of a tile; the last may have fewer.

    Returns
    -------
    heap : (n) uint8
        The compressed tiles, one after the other.
    lengths : (n_tiles) int64
        Bytes of each.
    """
    ny, nx = image.shape
    lengths = np.zeros(-(-ny // tile_rows), np.int64)
    heap = np.empty(lengths.size * bound(tile_rows * nx, image.itemsize) + SLACK, np.uint8)
    used = _compress(np.ascontiguousarray(image), tile_rows, heap, lengths)
    return heap[:used], lengths


def bound(n_pixels: int, itemsize: int) -> int:
    """Return the most bytes a tile can take: pixels as they are, heads of blocks, first pixel, last byte.

    Quotients are no longer than that on the average of a block, as `fs` follows from its mean.
    """
    return itemsize * (n_pixels + 1) + n_pixels // BLOCK_SIZE + 2 + SLACK


@compiled("void(u1[::1], i8, u8)", cache=True, nogil=True)
def _store(heap: Bytes, used: int, held: Bits) -> None:
    """Write the four low bytes of a number, the highest first."""
    at = _U(used)  # an index without a sign: the compiler makes one store of this
    heap[at] = np.uint8(held >> _U(24))
    heap[at + _U(1)] = np.uint8(held >> _U(16))
    heap[at + _U(2)] = np.uint8(held >> _U(8))
    heap[at + _U(3)] = np.uint8(held)


@compiled("Tuple((i8, u8, i8))(u1[::1], i8, u8, i8, u8, i8)", cache=True, nogil=True)
def _put(heap: Bytes, used: int, held: Bits, n_held: Bits, value: Bits, bits: int) -> tuple[int, Bits, int]:
    """Append up to 32 bits; return bytes used, what is held back and how many bits of it count (0 to 31)."""
    held, n_held = (held << _U(bits)) | value, n_held + bits
    if n_held >= 32:
        n_held -= 32
        _store(heap, used, held >> _U(n_held))
        used += 4
    return used, held, n_held


@compiled("i8(u8, i8)", cache=True, nogil=True)
def _low_bits(total: Bits, n: int) -> int:
    """Return how many bits of each difference are written as they are."""
    sum_less_half: Any = np.int64(total) - n // 2 - 1
    mean = max(sum_less_half // n, 0) >> 1
    fs = 0
    while mean > 0:
        fs += 1
        mean >>= 1
    return fs


@compiled("Tuple((i8, u8, i8))(u8[::1], i8, i8, u1[::1], i8, u8, i8)", cache=True, nogil=True)
def _verbatim(
    folded: NDArray[np.uint64], n: int, width: int, heap: Bytes, used: int, held: Bits, n_held: Bits
) -> tuple[int, Bits, int]:
    for k in range(n):
        used, held, n_held = _put(heap, used, held, n_held, folded[k], width)
    return used, held, n_held


@compiled("Tuple((i8, u8, i8))(u1[::1], i8, u8, i8, u8)", cache=True, nogil=True)
def _put_zeros(heap: Bytes, used: int, held: Bits, n_held: Bits, zeros: Bits) -> tuple[int, Bits, int]:
    """Append zeros, however many."""
    while zeros > _U(0):
        step = zeros if zeros < _U(32) else _U(32)  # noqa: FURB136 - min would make them floats
        used, held, n_held = _put(heap, used, held, n_held, _U(0), np.int64(step))
        zeros -= step
    return used, held, n_held


@compiled(["i8(i4[::1], u1[::1], i8)", "i8(u2[::1], u1[::1], i8)"], cache=True, nogil=True)
def encode_tile(pixels: NDArray[np.integer], heap: Bytes, used: int) -> int:
    """Append the stream of one tile.

    Parameters
    ----------
    pixels : (n) int32 or uint16
        At least one. The latter stand for signed integers, 32768 below.
    heap : uint8
        With `bound` bytes left.
    used : int
        Bytes of it in use.

    Returns
    -------
    int
        Bytes in use now.
    """
    width, head, verbatim = (32, 5, 25) if pixels.itemsize == 4 else (16, 4, 14)
    offset = 0 if pixels.itemsize == 4 else SIGN_OFFSET
    unfold = 64 - width
    folded = np.empty(BLOCK_SIZE, np.uint64)
    last = np.int64(pixels[0])
    first_pixel = _U(last - offset) & ((_U(1) << _U(width)) - _U(1))
    held, n_held = _U(0), np.int64(0)
    used, held, n_held = _put(heap, used, held, n_held, first_pixel, width)
    for first in range(0, pixels.size, BLOCK_SIZE):
        n = min(BLOCK_SIZE, pixels.size - first)
        block = pixels[first : first + n]
        total = _U(0)
        for k in range(n):
            value = np.int64(block[k])
            # The difference wraps like an integer of the pixels' width.
            difference = ((value - last) << unfold) >> unfold
            folded[k] = _U((difference << 1) ^ (difference >> 63))
            total += folded[k]
            last = value
        if total == _U(0):
            used, held, n_held = _put(heap, used, held, n_held, _U(0), head)
            continue
        fs = _low_bits(total, n)
        used, held, n_held = _put(heap, used, held, n_held, _U(min(fs, verbatim) + 1), head)
        if fs >= verbatim:
            used, held, n_held = _verbatim(folded, n, width, heap, used, held, n_held)
            continue
        one, shift = _U(1) << _U(fs), _U(fs)
        for k in range(n):
            quotient = folded[k] >> shift
            bits = np.int64(quotient) + fs + 1
            if bits > 32:
                used, held, n_held = _put_zeros(heap, used, held, n_held, quotient)
                bits = fs + 1
            held, n_held = (held << _U(bits)) | one | (folded[k] & (one - _U(1))), n_held + bits
            if n_held >= 32:
                n_held -= 32
                _store(heap, used, held >> _U(n_held))
                used += 4
    while n_held > 0:
        shifted = held >> _U(n_held - 8) if n_held >= 8 else held << _U(8 - n_held)
        heap[used] = np.uint8(shifted)
        used += 1
        n_held -= 8
    return used


@compiled("i8(u2[:, ::1], i8, u1[::1], i8[::1])", cache=True, nogil=True)
def _compress(image: NDArray[np.uint16], tile_rows: int, heap: Bytes, lengths: Integers) -> int:
    ny, nx = image.shape
    flat = image.reshape(ny * nx)
    used = 0
    for tile in range(lengths.size):
        start = used
        used = encode_tile(flat[tile * tile_rows * nx : min((tile + 1) * tile_rows, ny) * nx], heap, used)
        lengths[tile] = used - start
    return used
