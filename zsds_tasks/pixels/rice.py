"""Decode Rice-compressed tiles of 16-bit images, never reading beyond the bytes that are there.

The code (R. Rice, P.-S. Yeh and W. Miller 1993; FITS Standard 4.0, section 10.4.1) stores the first pixel as
it is, then blocks of differences to the pixel before. Each block begins with four bits k + 1: the low k bits
of its differences follow as they are, after the high ones in unary; 0 means that all are zero, 15 that each
is stored as it is. Differences are mapped to unsigned numbers: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

K_BITS = 4
VERBATIM = 14  # k of a block stored as it is
WIDTH = 16
MASK = 0xFFFF
INTACT = -1

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.int64[::1]


@njit(inline="always")
def _fill(data: NDArray[np.uint8], position: int, end: int, held: int, n_held: int) -> tuple[int, int, int]:
    """Take bytes in until 41 to 48 bits are held, right-aligned, or none are left."""
    while n_held <= 40 and position < end:
        held = (held << 8) | data[position]
        position += 1
        n_held += 8
    return position, held, n_held


@njit(
    types.int64(_BYTES, types.int64, types.int64, types.int64, types.int64, types.uint16[::1]),
    cache=True,
    nogil=True,
)
def decode_tile(  # noqa: C901 - one loop over a bit stream, in the order of the format
    data: NDArray[np.uint8], start: int, end: int, count: int, block: int, out: NDArray[np.uint16]
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
    out : numpy.ndarray (>= count), uint16
        Receives the pixels, modulo 2^16.
    """
    if end - start < 2:
        return 0
    last = (np.int64(data[start]) << 8) | np.int64(data[start + 1])
    position, held, n_held = start + 2, np.int64(0), np.int64(0)
    done = 0
    while done < count:
        position, held, n_held = _fill(data, position, end, held, n_held)
        if n_held < K_BITS:
            return done
        n_held -= K_BITS
        k = (held >> n_held) - 1
        held &= (np.int64(1) << n_held) - 1
        low_bits = np.int64(WIDTH) if k == VERBATIM else k
        for _ in range(min(block, count - done)):
            if k >= 0:
                position, held, n_held = _fill(data, position, end, held, n_held)
                high = np.int64(0)
                if k != VERBATIM:
                    while held == 0 and position < end:  # all that is held is zeros: count and go on
                        high += n_held
                        position, held, n_held = _fill(data, position, end, held, np.int64(0))
                    if held == 0 or high > MASK:
                        return done
                    while held >> (n_held - 1) == 0:
                        n_held -= 1
                        high += 1
                    n_held -= 1  # the one that ends the unary part
                    held &= (np.int64(1) << n_held) - 1
                    position, held, n_held = _fill(data, position, end, held, n_held)
                if n_held < low_bits or (high << low_bits) > MASK:
                    return done
                n_held -= low_bits
                mapped = (high << low_bits) | (held >> n_held)
                held &= (np.int64(1) << n_held) - 1
                last = (last + (~(mapped >> 1) if mapped & 1 else mapped >> 1)) & MASK
            out[done] = last
            done += 1
    return done


@njit(
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
