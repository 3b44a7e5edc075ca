"""A float image as Rice-compressed, quantised tiles of FITS.

A tile becomes integers (`quantize`), those a Rice stream (`rice_encoder`). A tile that has no noise to round
by (constant, or nearly) is kept exactly, by gzip, as cfitsio does.
Format: FITS Standard 4.0, sections 10.1 to 10.4. Its inverse is `rice_floats`.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.image_rows import Image, Rows
from zsds_tasks.pixels.quantize import (
    BLANK,
    DITHERED,
    LARGEST,
    RESERVED,
    dequantize,
    quantize,
    random_numbers,
    tile_noise,
    tile_range,
)
from zsds_tasks.pixels.rice_encoder import bound, encode_tile

ROW = np.dtype([("rice", ">i4", 2), ("gzip", ">i4", 2), ("scale", ">f8"), ("zero", ">f8")])
"""A row of the table: length and place of either stream in the heap, ZSCALE and ZZERO."""
GZIP_LEVEL = 1


@dataclass(frozen=True)
class FloatTiles:
    """What the table of a compressed image holds, ready to be written.

    Parameters
    ----------
    data : (n) uint8
        Table and heap.
    n_tiles : int
    longest_rice, longest_gzip : int
        Bytes of the longest stream of either kind.
    """

    data: NDArray[np.uint8]
    n_tiles: int
    longest_rice: int
    longest_gzip: int


def encode_floats(
    shape: tuple[int, int],
    rows: Rows,
    *,
    tile_rows: int,
    level: float,
    step: float | None,
    seed: int,
    tile_columns: int | None = None,
    restored: Image | None = None,
) -> FloatTiles:
    """Compress an image in tiles.

    Parameters
    ----------
    shape : (ny, nx)
    rows : Rows
        Gives the image.
    tile_rows : int
    level : float
        Steps per noise sigma of a tile.
    step : float, optional
        Size of the steps everywhere, instead of `level`.
    seed : int
        ZDITHER0, 1 to 10,000.
    tile_columns : int, optional
        By default tiles are of whole rows. The noise is that of the rows of a tile, from edge to edge.
    restored : numpy.ndarray (ny, nx), float32, optional
        Receives what a reader of the file will get, bit by bit.
    """
    ny, nx = shape
    width = min(tile_columns or nx, nx)
    across = -(-nx // width)
    table = np.zeros(-(-ny // tile_rows) * across, ROW)
    data = np.empty(table.nbytes + len(table) * bound(tile_rows * width, 4), np.uint8)
    buffer, counts = np.empty((tile_rows, nx), np.float32), np.empty(tile_rows * width, np.int32)
    used = heap = table.nbytes
    for tile in range(len(table)):
        y, x = tile // across * tile_rows, tile % across * width
        strip = buffer[: min(tile_rows, ny - y)]
        if x == 0:
            rows(y, strip)
            noise = None if across == 1 else tile_noise(strip.reshape(-1))
        part = np.ascontiguousarray(strip[:, x : x + width])
        back = None if restored is None else restored[y : y + len(strip), x : x + width]
        values, start = part.reshape(-1), used
        scale, zero, offset = _scaling(values, level, step, noise)
        if scale:
            quantize(values, zero, scale, offset, random_numbers(), tile + seed - 1, counts[: values.size])
            used = encode_tile(counts[: values.size], data, used)
            from_zero = zero - scale * offset
            table[tile] = ((used - start, start - heap), (0, 0), scale, from_zero)
            if back is not None:  # while the counts are in the cache
                dequantize(
                    counts[: values.size], from_zero, scale, BLANK, DITHERED, random_numbers(),
                    tile + seed - 1, values,
                )  # fmt: skip
        else:
            stream = gzip.compress(values.astype(">f4").tobytes(), GZIP_LEVEL, mtime=0)
            used += len(stream)
            data[start:used] = np.frombuffer(stream, np.uint8)
            table[tile] = ((0, 0), (used - start, start - heap), 0, 0)
        if back is not None:
            back[:] = part
    data[:heap] = np.frombuffer(table.tobytes(), np.uint8)
    longest = [int(table[kind][:, 0].max(initial=0)) for kind in ("rice", "gzip")]
    return FloatTiles(data[:used], len(table), *longest)


def _scaling(
    values: Image, level: float, step: float | None, noise: float | None
) -> tuple[float, float, int]:
    """Return step, zero and what is added to the counts of a tile; step 0 if it cannot be quantised.

    Its noise is measured if it is not given.
    """
    least, most, undefined = tile_range(values)
    low, high = float(least), float(most)
    if undefined == values.size:
        return 1.0, 0.0, 0
    if noise is None and not step:
        noise = tile_noise(values)
    scale = step or (noise or 0.0) / level
    if (noise and low == high) or scale <= 0 or not (high - low) / scale < LARGEST - 2 * RESERVED:
        return 0.0, 0.0, 0
    # A whole number of steps from nought: quantising once more changes nothing.
    zero = float(np.rint(low / scale)) * scale
    return scale, zero, BLANK + RESERVED if undefined else 0
