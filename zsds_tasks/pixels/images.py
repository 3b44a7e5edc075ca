"""From the bytes of an image HDU to its pixels: 16-bit unsigned, plain or Rice tile-compressed (fpack).

Every size, row and offset is held against the bytes before anything is allocated or read.
Format: FITS Standard 4.0, section 10.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels import rice
from zsds_tasks.pixels.fits import CardError, Hdu, Header, StructureError

UNSIGNED_ZERO = 32768
DEFAULT_BLOCK = 32
MAX_FIELDS = 20  # fpack writes one to four
COLUMN_WIDTH = {
    "L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "P": 8, "Q": 16, "C": 8, "M": 16,
}  # fmt: skip
_FORMAT = re.compile(r"([0-9]{0,6})([A-Z])(.*)")


class DecodeError(UnusableInputError):
    """The compressed pixels are broken."""


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
    starts, ends = _streams(data, hdu, n_tiles)
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


def _streams(data: bytes, hdu: Hdu, n_tiles: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the stream of each tile starts and ends in the file."""
    header = hdu.header
    if header.integer("BITPIX") != 8 or header.integer("NAXIS") != 2:
        raise StructureError("is no binary table")
    row, rows = header.integer("NAXIS1"), header.integer("NAXIS2")
    if rows != n_tiles:
        raise StructureError(f"{rows} rows for {n_tiles} tiles")
    offset, wide = _column(header, row)
    if not row * rows <= header.integer("THEAP", row * rows) <= hdu.data_size:
        raise StructureError("THEAP lies outside the data")
    heap, end = hdu.data_start + header.integer("THEAP", row * rows), hdu.data_start + hdu.data_size
    table = np.frombuffer(data, np.uint8, count=row * rows, offset=hdu.data_start).reshape(rows, row)
    size = 8 if wide else 4
    cells = np.ascontiguousarray(table[:, offset : offset + 2 * size])
    descriptors = cells.view(f">i{size}").astype(np.int64)
    lengths, offsets = descriptors[:, 0], descriptors[:, 1]
    room = end - heap
    bad = (lengths < 0) | (offsets < 0) | (lengths > room) | (offsets > room - np.minimum(lengths, room))
    if bad.any():
        raise DecodeError(f"tile {int(np.flatnonzero(bad)[0]) + 1} of {n_tiles} lies outside the heap")
    starts = heap + offsets
    return np.ascontiguousarray(starts), np.ascontiguousarray(starts + lengths)


def _column(header: Header, row: int) -> tuple[int, bool]:
    """Return the byte offset of the compressed data's descriptor in a row, and whether it is 64-bit."""
    n_fields = header.integer("TFIELDS")
    if not 1 <= n_fields <= MAX_FIELDS:
        raise StructureError(f"TFIELDS is {n_fields}; a compressed image has 1 to {MAX_FIELDS}")
    offset, found = 0, None
    for number in range(1, n_fields + 1):
        match = _FORMAT.fullmatch(header.text(f"TFORM{number}"))
        if match is None or match[2] not in COLUMN_WIDTH:
            raise StructureError(f"TFORM{number} cannot be read")
        if header.text(f"TTYPE{number}") == "COMPRESSED_DATA":
            if match[2] not in "PQ" or match[1] not in {"", "1"} or not match[3].startswith("B"):
                raise StructureError(f"TFORM{number} is no array of bytes")
            found = offset, match[2] == "Q"
        offset += COLUMN_WIDTH[match[2]] * int(match[1] or 1)
    if found is None:
        raise StructureError("has no column COMPRESSED_DATA")
    if offset != row:
        raise StructureError(f"its columns take {offset} bytes, NAXIS1 says {row}")
    return found


def _number(header: Header, keyword: str, default: float) -> float:
    try:
        value = header.value(keyword)
    except CardError as error:
        raise StructureError(f"has a {keyword} that {error}") from error
    if value is None:
        return default
    return float(value) if isinstance(value, int | float) else float("nan")
