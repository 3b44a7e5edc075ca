"""From the bytes of an image HDU to its pixels: 16-bit unsigned, plain or Rice tile-compressed (fpack).

Every size, row and offset is held against the bytes before anything is allocated or read.
Format: FITS Standard 4.0, section 10.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels import rice
from zsds_tasks.pixels.fits import CardError, Hdu, Header, StructureError
from zsds_tasks.pixels.tile_table import DecodeError, read_tile_table

UNSIGNED_ZERO = 32768
DEFAULT_BLOCK = 32


@dataclass(frozen=True)
class ImageShape:
    """What an image HDU says it holds, read from its header alone."""

    ny: int
    nx: int
    compressed: bool


def image_shape(hdu: Hdu) -> ImageShape:
    """Return the shape of a 16-bit unsigned image, plain or Rice-compressed.

    Raises
    ------
    StructureError
        If the HDU is no such image; the message names the HDU and what is wrong.
    """
    try:
        return _shape(hdu.header)
    except StructureError as error:
        raise StructureError(f"HDU {hdu.number} {error.reason}") from error


def _shape(header: Header) -> ImageShape:
    compressed = "ZIMAGE" in header
    if header.text("XTENSION") != ("BINTABLE" if compressed else "IMAGE"):
        raise StructureError(f"is {header.text('XTENSION') or 'no extension'}, not an image")
    z = "Z" if compressed else ""
    if compressed and header.text("ZCMPTYPE") not in {"RICE_1", "RICE_ONE"}:
        raise StructureError(f"is compressed by {header.text('ZCMPTYPE') or 'nothing'}, not RICE_1")
    if header.integer(f"{z}BITPIX") != 16 or _number(header, "BZERO", 0) != UNSIGNED_ZERO:
        raise StructureError("does not hold 16-bit unsigned integers (BITPIX 16, BZERO 32768)")
    if _number(header, "BSCALE", 1) != 1:
        raise StructureError("has a BSCALE other than 1")
    if header.integer(f"{z}NAXIS") != 2:
        raise StructureError(f"has {header.integer(f'{z}NAXIS')} axes, not 2")
    return ImageShape(header.integer(f"{z}NAXIS2"), header.integer(f"{z}NAXIS1"), compressed)


def read_image(data: bytes, hdu: Hdu, shape: ImageShape) -> NDArray[np.uint16]:
    """Decode an image whose shape the caller has found acceptable.

    Parameters
    ----------
    data : bytes
        The whole file.
    hdu : Hdu
        From `zsds_tasks.pixels.fits.scan`.
    shape : ImageShape
        From `image_shape`.

    Returns
    -------
    numpy.ndarray (ny, nx), uint16
        DN.

    Raises
    ------
    StructureError
        If the table of tiles is not as it has to be.
    DecodeError
        If a tile's bytes are broken; names HDU and tile.
    """
    try:
        return _decoded(data, hdu, shape) if shape.compressed else _plain(data, hdu, shape)
    except (StructureError, DecodeError) as error:
        raise type(error)(f"HDU {hdu.number}: {error.reason}") from error


def _plain(data: bytes, hdu: Hdu, shape: ImageShape) -> NDArray[np.uint16]:
    if hdu.data_size != 2 * shape.ny * shape.nx:
        raise StructureError(f"holds {hdu.data_size} bytes for {shape.ny} x {shape.nx} pixels")
    stored = np.frombuffer(data, ">u2", count=shape.ny * shape.nx, offset=hdu.data_start)
    return stored.astype(np.uint16).reshape(shape.ny, shape.nx) ^ np.uint16(UNSIGNED_ZERO)


def _decoded(data: bytes, hdu: Hdu, shape: ImageShape) -> NDArray[np.uint16]:
    header = hdu.header
    tile_nx, tile_ny = header.integer("ZTILE1", shape.nx), header.integer("ZTILE2", 1)
    if not (1 <= tile_nx <= shape.nx and 1 <= tile_ny <= shape.ny):
        raise StructureError(f"tiles of {tile_ny} x {tile_nx} in {shape.ny} x {shape.nx} pixels cannot be")
    block, width = _rice_parameters(header)
    if width != 2 or block not in {16, 32, 64}:
        raise StructureError(f"BYTEPIX is {width}, BLOCKSIZE {block}; 2 and 16, 32 or 64 are read")
    n_tiles = -(-shape.ny // tile_ny) * -(-shape.nx // tile_nx)
    starts, ends = read_tile_table(data, hdu, n_tiles).streams("COMPRESSED_DATA")
    image = np.empty((shape.ny, shape.nx), dtype=np.uint16)
    stored = np.frombuffer(data, np.uint8)
    broken = rice.decode_tiles(stored, starts, ends, tile_nx, tile_ny, block, UNSIGNED_ZERO, image)
    if broken != rice.INTACT:
        raise DecodeError(f"tile {broken + 1} of {n_tiles} does not decode to its {tile_ny * tile_nx} pixels")
    return image


def _rice_parameters(header: Header) -> tuple[int, int]:
    """Return BLOCKSIZE and BYTEPIX; the standard's defaults are 32 and 4."""
    found = {"BLOCKSIZE": DEFAULT_BLOCK, "BYTEPIX": 4}
    for number in range(1, 10):
        name = header.text(f"ZNAME{number}")
        if name in found:
            found[name] = header.integer(f"ZVAL{number}")
    return found["BLOCKSIZE"], found["BYTEPIX"]


def _number(header: Header, keyword: str, default: float) -> float:
    try:
        value = header.value(keyword)
    except CardError as error:
        raise StructureError(f"has a {keyword} that {error}") from error
    if value is None:
        return default
    return float(value) if isinstance(value, int | float) else float("nan")
