"""Files of smooth maps: small float images in one FITS file, by name, exact to the last bit."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import Card
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.calibration.shutter import SmoothMap

IMAGE, UNCERTAINTY, CELL = "IMAGE", "UNCERT", "CELLPX"
Row = dict[str, Any]


def encode_maps(images: Mapping[str, NDArray[np.floating]], cards: Iterable[Card]) -> bytes:
    """Return a FITS file of small images.

    Parameters
    ----------
    images : mapping of numpy.ndarray (my, mx)
        By EXTNAME; stored as float32.
    cards : iterable of Card
        Keywords of the primary header.

    Returns
    -------
    bytes
        The same for the same maps and cards.
    """
    primary = fits.PrimaryHDU()
    for keyword, value, comment in cards:
        primary.header.append((keyword, value, comment), end=True)
    hdus = [fits.ImageHDU(np.asarray(image, np.float32), name=name) for name, image in images.items()]
    stream = io.BytesIO()
    fits.HDUList([primary, *hdus]).writeto(stream)
    return stream.getvalue()


def read_maps(lakehouse: Lakehouse, row: Row) -> tuple[dict[str, NDArray[np.float32]], fits.Header]:
    """Return the images of a row of master_frames by name, (my, mx) float32 each, and the primary header.

    Raises
    ------
    UnusableInputError
        If the file is gone, is not the one of the row, or cannot be read.
    """
    subject = str(row["path"] or f"{row['kind']} of channel {row['rcid']}, night {row['night']}")
    remedy = "build the masters of its night again"
    try:
        data = lakehouse.storage.read_bytes(row["path"]) if row["path"] else None
    except FileNotFoundError:
        data = None
    if data is None:
        raise UnusableInputError("has no file", subject=subject, remedy=remedy)
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise UnusableInputError("is not the file that its row describes", subject=subject, remedy=remedy)
    with fits.open(io.BytesIO(data)) as hdus:
        images = {hdu.name: np.ascontiguousarray(hdu.data, np.float32) for hdu in hdus[1:]}
        return images, hdus[0].header.copy()


def read_smooth_map(lakehouse: Lakehouse, row: Row, shape: tuple[int, int]) -> SmoothMap:
    """Return the map of a shutter or star flat.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : dict
        Of master_frames.
    shape : (ny, nx)
        Of the channel.

    Raises
    ------
    UnusableInputError
        If the file is gone, is not the one of the row, or is no map of such a channel.
    """
    images, header = read_maps(lakehouse, row)
    try:
        cell = int(header[CELL])
        return SmoothMap(Mesh(images[IMAGE], cell, shape), Mesh(images[UNCERTAINTY], cell, shape))
    except (KeyError, ValueError) as error:
        raise UnusableInputError(f"is no map of a channel: {error}", subject=str(row["path"])) from error


def map_images(smooth: SmoothMap) -> dict[str, NDArray[np.float32]]:
    """Return what a file holds of a map."""
    return {IMAGE: smooth.values.values, UNCERTAINTY: smooth.error.values}


def map_cards(smooth: SmoothMap) -> list[Card]:
    """Return what a header says of a map."""
    return [(CELL, smooth.values.cell, "side of a cell, pixels of the channel")]
