"""The pixels of an archived raw channel: read, held against the checksum of its row, decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.fits import Header, scan
from zsds_tasks.pixels.images import image_shape, read_image
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD


@dataclass(frozen=True)
class RawReadout:
    """One readout channel of one raw file.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), uint16
    overscan : numpy.ndarray (ny, n), uint16
    primary, header : Header
        Of the file and of the channel.
    """

    image: NDArray[np.uint16]
    overscan: NDArray[np.uint16]
    primary: Header
    header: Header


def read_readout(lakehouse: Lakehouse, row: dict[str, Any]) -> RawReadout:
    """Return a channel's pixels and headers.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : dict
        Of raw_quadrants: path, sha256 and hdu are used.

    Raises
    ------
    UnusableInputError
        If the file is gone, has changed since it was archived, or cannot be decoded.
    """
    remedy = "restore it from a copy, or have it sent again: ingest heals a missing file"
    try:
        data = lakehouse.storage.read_bytes(row["path"])
    except FileNotFoundError as error:
        raise UnusableInputError("is gone", subject=row["path"], remedy=remedy) from error
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise UnusableInputError("has changed since it was archived", subject=row["path"], remedy=remedy)
    hdus = scan(data)
    image, overscan = (
        read_image(data, hdus[number], image_shape(hdus[number]))
        for number in (row["hdu"], row["hdu"] + QUADRANTS_PER_CCD)
    )
    return RawReadout(image, overscan, hdus[0].header, hdus[row["hdu"]].header)
