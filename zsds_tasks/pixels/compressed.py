"""An image as the bytes of a tile-compressed FITS file, and back; the same image gives the same bytes.

What is written here is read by astropy, cfitsio (funpack) and DS9; see docs/products.md for the layout.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits import StructureError, scan
from zsds_tasks.pixels.fits_writer import Card, format_hdu, primary_hdu
from zsds_tasks.pixels.image_rows import Image, Rows, image_rows, uncertainty_rows
from zsds_tasks.pixels.images import image_shape, read_image
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.quantize import BLANK
from zsds_tasks.pixels.rice_encoder import BLOCK_SIZE, SIGN_OFFSET, compress_tiles
from zsds_tasks.pixels.rice_floats import read_floats
from zsds_tasks.pixels.rice_floats_encoder import ROW, encode_floats

__all__ = ["QUANTIZE_LEVEL", "Card", "decode_image", "encode_image", "encode_uncertainty"]

QUANTIZE_LEVEL = 16.0
"""Steps per noise sigma of a tile: rounding adds 1.8 per cent of that sigma, in quadrature."""
UNCERTAINTY_STEP = 0.02
"""Steps of an uncertainty over the noise of the sky: rounding is off by 0.6 per cent of it (rms)."""
TILE_ROWS = 32
"""Rows of a tile: astropy's cost is per tile, a cut-out's per row."""
DITHER_SEED = 1
"""Fixed: the clock would give other bytes every time."""


def encode_image(
    image: Image | NDArray[np.uint16],
    cards: Iterable[Card],
    *,
    name: str,
    add: Mesh | None = None,
    tile_columns: int | None = None,
    restored: Image | None = None,
) -> bytes:
    """Return a FITS file with one Rice-compressed image in its first extension.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32 or uint16
        Floats are quantised to `QUANTIZE_LEVEL` steps per noise sigma with subtractive dithering, NaN stays
        NaN; tiles without noise and integers are kept exactly.
    cards : iterable of Card
        Keywords of the image, in order.
    name : str
        EXTNAME.
    add : Mesh, optional
        Written with the floats added to it, such as the sky that was subtracted; the image stays as it is.
    tile_columns : int, optional
        Of a tile of floats, by default all: narrow ones make single places cheap to read.
    restored : numpy.ndarray (ny, nx), float32, C-contiguous, optional
        Receives the floats that `decode_image` will return, bit by bit, for a fraction of the cost.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If the array is no such image, or a card cannot be written.
    """
    if image.ndim != 2 or not image.size:
        raise ValueError(f"an image of shape {image.shape} cannot be written")
    if image.dtype.kind == "f":
        rows = image_rows(image.astype(np.float32, copy=False), add)
        if restored is not None and (restored.shape != image.shape or not restored.flags.c_contiguous):
            raise ValueError(f"what is restored of {image.shape} has no room in {restored.shape}")
        return _float_file(_shape(image), rows, cards, name, None, tile_columns, restored)
    if image.dtype.str[1:] != "u2" or add is not None or restored is not None:
        raise ValueError(f"pixels of {image.dtype} cannot be written{' with a map added' if add else ''}")
    return _integer_file(image.astype(np.uint16, copy=False), cards, name)


def encode_uncertainty(
    image: Image,
    noise: Mesh,
    gain: float,
    cards: Iterable[Card],
    *,
    name: str,
    mask: NDArray[np.uint16] | None = None,
    bits: int = 0,
) -> bytes:
    """Return a FITS file with the uncertainties of a sky-subtracted image, which are never held as a whole.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        DN above the sky.
    noise : Mesh
        1-sigma noise of a sky pixel, DN.
    gain : float
        e-/DN.
    cards, name
        As in `encode_image`.
    mask : numpy.ndarray (ny, nx), uint16, optional
    bits : int
        Pixels with any of these in the mask are NaN, as are those that are NaN in the image.

    Returns
    -------
    bytes
        sqrt(noise^2 + max(image, 0) / gain), rounded to `UNCERTAINTY_STEP` of the median noise, dithered.
    """
    rows = uncertainty_rows(image, noise, gain, mask, bits)
    step = UNCERTAINTY_STEP * float(np.median(noise.values))
    return _float_file(_shape(image), rows, cards, name, step)


def decode_image(data: bytes, *, subject: str, out: Image | None = None) -> NDArray[Any]:
    """Return the image (float32 or uint16) of a file that `encode_image` made, in native byte order.

    Parameters
    ----------
    data : bytes
        Also read: any Rice-compressed image of floats or unsigned 16-bit integers that cfitsio or astropy
        wrote to the first extension.
    subject : str
        The file, named in errors.
    out : numpy.ndarray (ny, nx), float32, optional
        Receives a float image, and is returned: fresh memory costs as much as a third of the decoding.

    Raises
    ------
    UnusableInputError
        If the bytes are no such file, or hold another shape than `out`.
    """
    try:
        hdus = scan(data)
        if len(hdus) < 2:
            raise StructureError("there is no extension")
        if hdus[1].header.integer("ZBITPIX", 0) == -32:
            return read_floats(data, hdus[1], out)
        return read_image(data, hdus[1], image_shape(hdus[1]))
    except UnusableInputError as error:
        raise UnusableInputError(
            f"no compressed FITS image can be read: {error.reason}", subject=subject, remedy="build it again"
        ) from error


def _shape(image: NDArray[Any]) -> tuple[int, int]:
    return int(image.shape[0]), int(image.shape[1])


def _float_file(
    shape: tuple[int, int],
    rows: Rows,
    cards: Iterable[Card],
    name: str,
    step: float | None,
    tile_columns: int | None = None,
    restored: Image | None = None,
) -> bytes:
    tiles = encode_floats(
        shape,
        rows,
        tile_rows=min(TILE_ROWS, shape[0]),
        level=QUANTIZE_LEVEL,
        step=step,
        seed=DITHER_SEED,
        tile_columns=tile_columns,
        restored=restored,
    )
    columns: list[Card] = [
        ("TFIELDS", 4, "columns"),
        ("TTYPE1", "COMPRESSED_DATA", "Rice stream of a tile"),
        ("TFORM1", f"1PB({tiles.longest_rice})", ""),
        ("TTYPE2", "GZIP_COMPRESSED_DATA", "of a tile without noise"),
        ("TFORM2", f"1PB({tiles.longest_gzip})", ""),
        ("TTYPE3", "ZSCALE", "size of a step"),
        ("TFORM3", "1D", ""),
        ("TTYPE4", "ZZERO", "where steps are counted from"),
        ("TFORM4", "1D", ""),
    ]
    quantised: list[Card] = [
        ("ZQUANTIZ", "SUBTRACTIVE_DITHER_1", "how floats became integers"),
        ("ZDITHER0", DITHER_SEED, "seed of the dither"),
        ("ZBLANK", BLANK, "integer of an undefined pixel"),
    ]
    table = _table_cards(ROW.itemsize, tiles.n_tiles, tiles.data.size)
    image = _image_cards(shape, -32, (min(TILE_ROWS, shape[0]), min(tile_columns or shape[1], shape[1])))
    return _file([*table, *columns, *image, *quantised, ("EXTNAME", name, ""), *cards], tiles.data)


def _integer_file(image: NDArray[np.uint16], cards: Iterable[Card], name: str) -> bytes:
    tile_rows = min(TILE_ROWS, image.shape[0])
    heap, lengths = compress_tiles(image, tile_rows)
    descriptors = np.column_stack([lengths, np.cumsum(lengths) - lengths]).astype(">i4")
    data = np.concatenate([descriptors.view(np.uint8).ravel(), heap])
    columns: list[Card] = [
        ("TFIELDS", 1, "columns"),
        ("TTYPE1", "COMPRESSED_DATA", "Rice stream of a tile"),
        ("TFORM1", f"1PB({int(lengths.max())})", ""),
    ]
    unsigned: list[Card] = [
        ("EXTNAME", name, ""),
        ("BSCALE", 1, ""),
        ("BZERO", SIGN_OFFSET, "unsigned 16-bit integers"),
    ]
    table = _table_cards(8, lengths.size, data.size)
    return _file(
        [*table, *columns, *_image_cards(_shape(image), 16, (tile_rows, image.shape[1])), *unsigned, *cards],
        data,
    )


def _table_cards(row: int, rows: int, size: int) -> list[Card]:
    return [
        ("XTENSION", "BINTABLE", "a compressed image"),
        ("BITPIX", 8, ""),
        ("NAXIS", 2, ""),
        ("NAXIS1", row, "bytes of a row"),
        ("NAXIS2", rows, "tiles"),
        ("PCOUNT", size - row * rows, "bytes of the heap"),
        ("GCOUNT", 1, ""),
    ]


def _image_cards(shape: tuple[int, int], bitpix: int, tile: tuple[int, int]) -> list[Card]:
    ny, nx = shape
    return [
        ("ZIMAGE", True, "a tile-compressed image"),
        ("ZTENSION", "IMAGE", ""),
        ("ZBITPIX", bitpix, "type of the pixels"),
        ("ZNAXIS", 2, ""),
        ("ZNAXIS1", nx, ""),
        ("ZNAXIS2", ny, ""),
        ("ZPCOUNT", 0, ""),
        ("ZGCOUNT", 1, ""),
        ("ZTILE1", tile[1], "columns of a tile"),
        ("ZTILE2", tile[0], "rows of a tile"),
        ("ZCMPTYPE", "RICE_1", ""),
        ("ZNAME1", "BLOCKSIZE", ""),
        ("ZVAL1", BLOCK_SIZE, "pixels of a block"),
        ("ZNAME2", "BYTEPIX", ""),
        ("ZVAL2", 4 if bitpix < 0 else 2, "bytes of an integer"),
    ]


def _file(cards: list[Card], data: NDArray[np.uint8]) -> bytes:
    header, fill = format_hdu(cards, data)
    return b"".join([primary_hdu(), header, data.data, fill])
