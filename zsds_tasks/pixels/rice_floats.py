"""Float images from Rice-compressed, quantised tiles of FITS.

Every size is held against the bytes before anything is allocated; a broken tile is named.
Format: FITS Standard 4.0, sections 10.1 to 10.4. Its inverse is `rice_floats_encoder`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numba import types
from numpy.typing import NDArray

from zsds_tasks.pixels import quantize
from zsds_tasks.pixels.fits import Hdu, Header, StructureError
from zsds_tasks.pixels.images import DEFAULT_BLOCK
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.quantize import dequantize, random_numbers
from zsds_tasks.pixels.rice import INTACT, decode_tile
from zsds_tasks.pixels.tile_table import DecodeError, TileTable, read_tile_table

Image = NDArray[np.float32]
MOST_PER_BYTE = 1100
"""Bytes of pixels that a byte of file can hold; gzip's limit is 1032."""
NO_BLANK = 1 << 40
"""Stands for no ZBLANK: no 32-bit integer."""

_METHODS = {
    "": quantize.NOT_DITHERED,
    "NO_DITHER": quantize.NOT_DITHERED,
    "SUBTRACTIVE_DITHER_1": quantize.DITHERED,
    "SUBTRACTIVE_DITHER_2": quantize.DITHERED_KEEPING_ZERO,
}
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@dataclass(frozen=True)
class StoredTiles:
    """Where the tiles of a compressed image lie in a file, and how to restore them.

    Parameters
    ----------
    starts, ends : (n_tiles) int64
        Of each Rice stream in the file; equal if the tile is kept by gzip.
    gzip_starts, gzip_ends : (n_tiles) int64
    scales, zeros : (n_tiles) float64
    heights : (n_tiles) int64
        Rows to decode of each, from its first.
    tile_shape : (rows, columns)
    block : int
        Pixels of a block of the code.
    blank : int
        Integer of undefined pixels.
    method : int
        0 no dithering, 1 and 2 the standard's.
    seed : int
        ZDITHER0.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    gzip_starts: NDArray[np.int64]
    gzip_ends: NDArray[np.int64]
    scales: NDArray[np.float64]
    zeros: NDArray[np.float64]
    heights: NDArray[np.int64]
    tile_shape: tuple[int, int]
    block: int
    blank: int
    method: int
    seed: int


def read_floats(data: bytes, hdu: Hdu, out: Image | None = None) -> Image:
    """Decode a compressed image of 32-bit floats.

    Parameters
    ----------
    data : bytes
        The whole file.
    hdu : Hdu
        From `zsds_tasks.pixels.fits.scan`.
    out : numpy.ndarray (ny, nx), float32, optional
        Receives the image.

    Returns
    -------
    numpy.ndarray (ny, nx), float32

    Raises
    ------
    StructureError
        If the HDU is no such image, its table is not as it has to be, or `out` has another shape.
    DecodeError
        If a tile's bytes are broken; names it.
    """
    (ny, nx), tiles = stored_tiles(data, hdu)
    image = np.empty((ny, nx), np.float32) if out is None else out
    if image.shape != (ny, nx):
        raise StructureError(f"holds {ny} x {nx} pixels, not {' x '.join(map(str, image.shape))}")
    restore(data, tiles, image)
    return image


def stored_tiles(data: bytes, hdu: Hdu) -> tuple[tuple[int, int], StoredTiles]:
    """Return the shape of a compressed image of 32-bit floats, and where its tiles lie in the file.

    Parameters
    ----------
    data : bytes
        The file, at least up to the end of the image's table of tiles.
    hdu : Hdu

    Raises
    ------
    StructureError
        If the HDU is no such image, or its table is not as it has to be.
    DecodeError
        If a tile lies outside the file.
    """
    header = hdu.header
    if header.text("ZCMPTYPE") not in {"RICE_1", "RICE_ONE"} or header.integer("ZNAXIS") != 2:
        raise StructureError("is no Rice-compressed image")
    nx, ny = header.integer("ZNAXIS1"), header.integer("ZNAXIS2")
    tile_nx, tile_ny = header.integer("ZTILE1", nx), header.integer("ZTILE2", 1)
    if not (1 <= tile_nx <= nx and 1 <= tile_ny <= ny):
        raise StructureError(f"tiles of {tile_ny} x {tile_nx} in {ny} x {nx} pixels cannot be")
    if 4 * nx * ny > MOST_PER_BYTE * hdu.data_size:
        raise StructureError(f"{hdu.data_size} bytes cannot hold {ny} x {nx} pixels")
    table = read_tile_table(data, hdu, -(-nx // tile_nx) * -(-ny // tile_ny))
    return (ny, nx), _stored_tiles(header, table, (tile_ny, tile_nx))


def _stored_tiles(header: Header, table: TileTable, tile_shape: tuple[int, int]) -> StoredTiles:
    method, seed = _METHODS.get(header.text("ZQUANTIZ")), header.integer("ZDITHER0", 1)
    if method is None or not 1 <= seed <= quantize.N_RANDOM:
        raise StructureError(f"is quantised by {header.text('ZQUANTIZ')}, seed {seed}")
    numbers = {header.text(f"ZNAME{n}"): n for n in range(1, 10)}
    block, width = (
        header.integer(f"ZVAL{numbers[name]}") if name in numbers else default
        for name, default in (("BLOCKSIZE", DEFAULT_BLOCK), ("BYTEPIX", 4))
    )
    if width != 4 or block not in {16, 32, 64}:
        raise StructureError(f"BYTEPIX is {width}, BLOCKSIZE {block}; 4 and 16, 32 or 64 are read")
    starts, ends = table.streams("COMPRESSED_DATA")
    gzip_starts, gzip_ends = table.streams("GZIP_COMPRESSED_DATA", optional=True)
    empty = (ends == starts) & (gzip_ends == gzip_starts)
    if empty.any():
        raise DecodeError(f"tile {int(np.flatnonzero(empty)[0]) + 1} of {empty.size} has no bytes")
    heights = np.full(starts.size, tile_shape[0], np.int64)
    return StoredTiles(
        starts, ends, gzip_starts, gzip_ends, table.numbers("ZSCALE"), table.numbers("ZZERO"), heights,
        tile_shape, block, header.integer("ZBLANK", NO_BLANK), method, seed,
    )  # fmt: skip


def restore(data: bytes, tiles: StoredTiles, image: Image) -> None:
    """Decode into an image (ny, nx) the tiles that have bytes; leave the others as they are.

    Raises
    ------
    DecodeError
        If a tile's bytes are broken; names it.
    """
    rows, columns = tiles.tile_shape
    broken = _decode(
        np.frombuffer(data, np.uint8), tiles.starts, tiles.ends, tiles.scales, tiles.zeros, tiles.heights,
        (columns, rows, tiles.block, tiles.blank, tiles.method, tiles.seed), random_numbers(), image,
    )  # fmt: skip
    if broken != INTACT:
        raise DecodeError(f"tile {broken + 1} of {tiles.starts.size} does not decode to its pixels")
    across = -(-image.shape[1] // columns)
    for tile in np.flatnonzero(tiles.gzip_ends > tiles.gzip_starts):
        y, x = tile // across * rows, tile % across * columns
        part = image[y : y + rows, x : x + columns]
        stream = data[tiles.gzip_starts[tile] : tiles.gzip_ends[tile]]
        part[:] = _unzipped(stream, part.shape, f"tile {tile + 1} of {tiles.starts.size}")


def _unzipped(stream: bytes, shape: tuple[int, ...], which: str) -> Image:
    size = 4 * shape[0] * shape[1]
    try:
        plain = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(stream, size)
    except zlib.error as error:
        raise DecodeError(f"{which} is no gzip stream: {error}") from error
    if len(plain) != size:
        raise DecodeError(f"{which} holds {len(plain)} bytes, not {size}")
    return np.frombuffer(plain, ">f4").reshape(shape).astype(np.float32)


@compiled(
    types.int64(
        _BYTES, types.int64[::1], types.int64[::1], types.float64[::1], types.float64[::1], types.int64[::1],
        types.UniTuple(types.int64, 6), types.float32[::1], types.float32[:, ::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _decode(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    scales: NDArray[np.float64],
    zeros: NDArray[np.float64],
    heights: NDArray[np.int64],
    numbers: tuple[int, int, int, int, int, int],
    random: Image,
    image: Image,
) -> int:
    """Decode the tiles that have a Rice stream; return the number of the first broken one, or `INTACT`."""
    tile_nx, tile_ny, block, blank, method, seed = numbers
    ny, nx = image.shape
    across = (nx + tile_nx - 1) // tile_nx
    counts, values = np.empty(tile_nx * tile_ny, np.int32), np.empty(tile_nx * tile_ny, np.float32)
    for tile in range(starts.size):
        y0, x0 = (tile // across) * tile_ny, (tile % across) * tile_nx
        height, width = min(heights[tile], ny - y0), min(tile_nx, nx - x0)
        n = height * width
        if ends[tile] == starts[tile]:
            continue
        if decode_tile(data, starts[tile], ends[tile], n, block, counts) < n:
            return tile
        number = tile + seed - 1
        dequantize(counts[:n], zeros[tile], scales[tile], blank, method, random, number, values[:n])
        for y in range(height):
            image[y0 + y, x0 : x0 + width] = values[y * width : (y + 1) * width]
    return INTACT
