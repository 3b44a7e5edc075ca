"""Decode Rice-compressed tiles of 16- and 32-bit integers, never reading beyond the bytes that are there.

The code (R. Rice, P.-S. Yeh and W. Miller 1993; FITS Standard 4.0, section 10.4.1) stores the first pixel as
it is, then blocks of differences to the pixel before. Each block begins with k + 1 in four bits (five for
32-bit pixels): the low k bits of its differences follow as they are, after the high ones in unary; 0 means
that all are zero, 15 (26) that each is stored as it is. Differences are mapped to unsigned numbers:
0, -1, 1, -2, ... become 0, 1, 2, 3, ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

MASK = 0xFFFF
INTACT = -1
SHORT, LONG = 16, 32
"""Bits of a pixel."""

Bits = Any
"""A 64-bit number without sign, in compiled code."""

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.int64[::1]
_HELD = types.Tuple((types.int64, types.uint64, types.int64))
_U = np.uint64
_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LEADING_ZEROS = np.array([8 - n.bit_length() for n in range(256)], np.int64)


@compiled(types.uint64(_BYTES, types.int64), cache=True, nogil=True)
def _word(data: NDArray[np.uint8], position: int) -> Bits:
    """Return eight bytes as a big-endian number."""
    at = _U(position)  # an index without a sign: the compiler makes one load of this
    return (
        (_U(data[at]) << _U(56)) | (_U(data[at + _U(1)]) << _U(48)) | (_U(data[at + _U(2)]) << _U(40))
        | (_U(data[at + _U(3)]) << _U(32)) | (_U(data[at + _U(4)]) << _U(24))
        | (_U(data[at + _U(5)]) << _U(16)) | (_U(data[at + _U(6)]) << _U(8)) | _U(data[at + _U(7)])
    )  # fmt: skip


@compiled(_HELD(_BYTES, types.int64, types.int64, types.uint64, types.int64), cache=True, nogil=True)
def _last_bytes(
    data: NDArray[np.uint8], position: int, end: int, held: Bits, n_held: int
) -> tuple[int, Bits, int]:
    """Take bytes in until 56 bits or more are held or none are left, where `_word` would read too far."""
    while n_held <= 56 and position < end:
        held |= _U(data[position]) << _U(56 - n_held)
        position += 1
        n_held += 8
    return position, held, n_held


@compiled(_HELD(_BYTES, types.int64, types.int64, types.uint64, types.int64), cache=True, nogil=True)
def _fill(data: NDArray[np.uint8], position: int, end: int, held: Bits, n_held: int) -> tuple[int, Bits, int]:
    """Take bytes in until 56 bits or more are held, left-aligned, or none are left.

    Below the bits that count, `held` may have some that will come again: they are the same.
    """
    if position + 8 <= end:
        held |= _word(data, position) >> _U(n_held)
        return position + ((63 - n_held) >> 3), held, n_held | 56
    return _last_bytes(data, position, end, held, n_held)


@compiled(
    types.Tuple((types.int64, types.int64, types.uint64, types.int64))(
        _BYTES, types.int64, types.int64, types.uint64, types.int64
    ),
    cache=True,
    nogil=True,
)
def _long_run(
    data: NDArray[np.uint8], position: int, end: int, held: Bits, n_held: int
) -> tuple[int, int, Bits, int]:
    """Take in a unary number of eight or more and the one that ends it; -1 if the bytes end before."""
    zeros = 0
    while True:
        counted = held & ~(_ONES >> _U(n_held)) if n_held < 64 else held
        if counted != _U(0):
            break
        zeros += n_held
        position, held, n_held = _fill(data, position, end, _U(0), 0)
        if n_held == 0:
            return -1, position, held, n_held
    while counted >> _U(63) == _U(0):
        counted <<= _U(1)
        held <<= _U(1)
        n_held -= 1
        zeros += 1
    position, held, n_held = _fill(data, position, end, held << _U(1), n_held - 1)
    return zeros, position, held, n_held


@compiled(
    [
        types.int64(_BYTES, types.int64, types.int64, types.int64, types.int64, out)
        for out in (types.uint16[::1], types.int32[::1])
    ],
    cache=True,
    nogil=True,
)
def decode_tile(  # noqa: C901, PLR0912 - one loop over a bit stream, in the order of the format
    data: NDArray[np.uint8], start: int, end: int, count: int, block: int, out: NDArray[np.integer]
) -> int:
    """Decode one tile; return how many pixels could be decoded.

    Parameters
    ----------
    data : numpy.ndarray, uint8
        Bytes of the file.
    start, end : int
        Where the tile's stream lies in them.
    count : int
        Pixels of the tile.
    block : int
        Pixels per block.
    out : numpy.ndarray (>= count), uint16 or int32
        Receives the pixels, modulo 2^16 or 2^32; its type says of how many bits they are.
    """
    width, head, verbatim = (LONG, 5, 25) if out.itemsize == 4 else (SHORT, 4, 14)
    if end - start < width // 8:
        return 0
    last = np.int64(0)
    for k in range(width // 8):
        last = (last << 8) | np.int64(data[start + k])
    limit = (np.int64(1) << width) - 1
    position, held, n_held = start + width // 8, _U(0), np.int64(0)
    done = 0
    while done < count:
        position, held, n_held = _fill(data, position, end, held, n_held)
        if n_held < head:
            return done
        low = np.int64(held >> _U(64 - head)) - 1
        held <<= _U(head)
        n_held -= head
        stop = min(done + block, count)
        if low < 0:
            out[done:stop] = last
            done = stop
            continue
        if low > verbatim:
            return done
        bits = np.int64(width) if low == verbatim else low
        while done < stop:
            if position + 8 <= end:
                held |= _word(data, position) >> _U(n_held)
                position += (63 - n_held) >> 3
                n_held |= 56
            else:
                position, held, n_held = _last_bytes(data, position, end, held, n_held)
            high = np.int64(0)
            if low != verbatim:
                high = _LEADING_ZEROS[held >> _U(56)]
                if high < 8:
                    held <<= _U(high + 1)
                    n_held -= high + 1
                else:
                    high, position, held, n_held = _long_run(data, position, end, held, n_held)
                    if not 0 <= high <= limit:
                        return done
            mapped = (high << bits) | np.int64((held >> _U(1)) >> _U(63 - bits))
            held <<= _U(bits)
            n_held -= bits
            if n_held < 0 or mapped > limit:
                return done
            last = (last + ((mapped >> 1) ^ -(mapped & 1))) & limit
            out[done] = last
            done += 1
    return done


@compiled(
    types.int64(
        _BYTES, _PLACES, _PLACES, types.int64, types.int64, types.int64, types.int64, types.uint16[:, ::1]
    ),
    cache=True,
    nogil=True,
)
def decode_tiles(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    tile_nx: int,
    tile_ny: int,
    block: int,
    offset: int,
    image: NDArray[np.uint16],
) -> int:
    """Decode every tile into its place; return the number of the first broken one, or `INTACT`.

    Parameters
    ----------
    data : numpy.ndarray, uint8
        Bytes of the file.
    starts, ends : numpy.ndarray (n_tiles), int64
        Where each tile's stream lies in them; tiles run along x first.
    tile_nx, tile_ny : int
        Size of a tile; those at the far edges may be cut.
    block : int
        Pixels per block of the code.
    offset : int
        Added to every pixel, modulo 2^16 (BZERO).
    image : numpy.ndarray (ny, nx), uint16
        Receives the pixels.
    """
    ny, nx = image.shape
    across = (nx + tile_nx - 1) // tile_nx
    pixels = np.empty(tile_nx * tile_ny, dtype=np.uint16)
    for tile in range(starts.size):
        y0, x0 = (tile // across) * tile_ny, (tile % across) * tile_nx
        height, width = min(tile_ny, ny - y0), min(tile_nx, nx - x0)
        if decode_tile(data, starts[tile], ends[tile], height * width, block, pixels) < height * width:
            return tile
        for y in range(height):
            for x in range(width):
                image[y0 + y, x0 + x] = (np.int64(pixels[y * width + x]) + offset) & MASK
    return INTACT
