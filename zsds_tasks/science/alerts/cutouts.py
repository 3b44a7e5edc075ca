"""Postage stamps: 63 x 63 pixels about a candidate, as gzip'd FITS (reference section 7.4).

The header is as bare as that of ZTF's stamps and written by hand: there are three to a packet. Bytes depend
on the pixels alone (no time, no file name inside). Compression matches repeated bytes only (zlib's Z_RLE):
noise has no longer matches worth looking for, and the search for them would take 2.6 times as long for 1.5
per cent.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.fits_writer import format_header
from zsds_tasks.products.packets import CUTOUTS

Image = NDArray[np.float32]

BLOCK: Final = 2880
GZIP: Final = 31
"""zlib's window size for a gzip wrapper: no name and no time in it."""
MEMORY: Final = 9


class CutoutConfig(Declaration):
    """How stamps are cut."""

    size_px: int = Field(63, ge=3, description="side of a stamp; odd, so that it has a middle")
    level: int = Field(6, ge=0, le=9, description="effort of the compression")


def cut_stamp(image: Image, xpos: float, ypos: float, size: int) -> Image:
    """Return the pixels about a position; fewer where the image ends.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
    xpos, ypos : float
        Pixels from 1, as in the packet.
    size : int
        Side of a whole stamp, odd.

    Returns
    -------
    numpy.ndarray (at most size, at most size), float32
        A view.

    Raises
    ------
    ValueError
        If the position lies outside the image, or the size is even.
    """
    if size % 2 == 0:
        raise ValueError(f"a stamp of {size} pixels has no middle")
    ny, nx = image.shape
    x, y = math.floor(xpos - 0.5), math.floor(ypos - 0.5)
    if not (0 <= x < nx and 0 <= y < ny):
        raise ValueError(f"({xpos}, {ypos}) lies outside an image of {nx} x {ny} pixels")
    half = size // 2
    return image[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]


def encode_stamp(stamp: Image, level: int = 6) -> bytes:
    """Return a gzip'd FITS file of a stamp.

    Parameters
    ----------
    stamp : numpy.ndarray (ny, nx), float32, DN
    level : int
        Of zlib.
    """
    ny, nx = stamp.shape
    pixels = stamp.astype(">f4").tobytes()
    squeeze = zlib.compressobj(level, zlib.DEFLATED, GZIP, MEMORY, zlib.Z_RLE)
    data = squeeze.compress(b"".join((_header(nx, ny), pixels, bytes(-len(pixels) % BLOCK))))
    return data + squeeze.flush()


@lru_cache(maxsize=4096)
def _header(nx: int, ny: int) -> bytes:
    return format_header(
        (
            ("SIMPLE", True, ""),
            ("BITPIX", -32, ""),
            ("NAXIS", 2, ""),
            ("NAXIS1", nx, ""),
            ("NAXIS2", ny, ""),
            ("BUNIT", "DN", ""),
        )
    )


def cut_triplet(
    images: tuple[Image, Image, Image],
    xpos: float,
    ypos: float,
    config: CutoutConfig,
    *,
    is_positive: bool,
) -> tuple[bytes, bytes, bytes]:
    """Return encoded stamps of one candidate.

    Parameters
    ----------
    images : tuple of numpy.ndarray (ny, nx), float32, DN
        Science, reference on the same grid, difference (science minus reference).
    xpos, ypos : float
        Pixels from 1.
    config : CutoutConfig
    is_positive : bool
        Of a fainter one the difference is turned round, as ZTF does: what changed is always positive.

    Returns
    -------
    tuple of bytes
        Science, template, difference.
    """
    science, reference, difference = (cut_stamp(image, xpos, ypos, config.size_px) for image in images)
    return (
        encode_stamp(science, config.level),
        encode_stamp(reference, config.level),
        encode_stamp(difference if is_positive else -difference, config.level),
    )


def name_cutouts(
    candid: int, pid: int, stamps: tuple[bytes, bytes, bytes], *, is_positive: bool
) -> dict[str, dict[str, Any]]:
    """Return the three cut-outs as they stand in a packet, under ZTF's file names."""
    order = "scimref" if is_positive else "refmsci"
    names = (
        f"candid{candid}_pid{pid}_targ_sci.fits.gz",
        f"candid{candid}_ref.fits.gz",
        f"candid{candid}_pid{pid}_targ_{order}.fits.gz",
    )
    return {
        field: {"fileName": name, "stampData": stamp}
        for field, name, stamp in zip(CUTOUTS, names, stamps, strict=True)
    }
