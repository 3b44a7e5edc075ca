"""Calibrated images as stored: read back with mask, sky, noise and WCS, for what needs several of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.pixels.fits import Header, scan
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE
from zsds_tasks.sky.wcs import Wcs, from_header
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.filenames import ScienceSuffix

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Row = Mapping[str, Any]
_WCS = ("CTYPE", "CUNIT", "CRVAL", "CRPIX")
_TERMS = 40
REMEDY = "have the exposure processed again"


@dataclass(frozen=True)
class ScienceFrame:
    """One calibrated image whose pixels are read when they are asked for.

    Parameters
    ----------
    row : mapping
        Of science_images: path and products.
    wcs : Wcs
    shape : (ny, nx)
    gain : float
        Electrons per DN.
    level, noise : Mesh
        Sky and its 1 sigma, DN.
    """

    row: Row
    wcs: Wcs
    shape: tuple[int, int]
    gain: float
    level: Mesh
    noise: Mesh
    lakehouse: Lakehouse = field(repr=False)

    def load(self) -> tuple[Image, Mask]:
        """Return the image without its sky (DN) and its mask."""
        image, mask = _pixels(self.lakehouse, self.row)
        self.level.add_to(image, -1.0)
        return image, mask


def open_frame(lakehouse: Lakehouse, row: Row, config: BackgroundConfig) -> ScienceFrame:
    """Read what is known of a calibrated image, and measure its sky.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : mapping
        Of science_images.
    config : BackgroundConfig

    Raises
    ------
    UnusableInputError
        If a file is gone or is not the one that the row names.
    """
    return read_frame(lakehouse, row, config)[0]


def read_frame(lakehouse: Lakehouse, row: Row, config: BackgroundConfig) -> tuple[ScienceFrame, Image, Mask]:
    """Read a calibrated image once: what is known of it, its pixels with their sky, and its mask.

    Parameters and errors as `open_frame`.
    """
    data = read_stored(lakehouse, row, ScienceSuffix.IMAGE.value, remedy=REMEDY)
    image = decode_image(data, subject=str(row["path"]))
    suffix = ScienceSuffix.MASK.value
    mask = decode_image(
        read_stored(lakehouse, row, suffix, remedy=REMEDY), subject=f"{row['path']}, {suffix}"
    )
    return frame_of(lakehouse, row, data, image, mask, config), image, mask


def frame_of(
    lakehouse: Lakehouse, row: Row, data: bytes, image: Image, mask: Mask, config: BackgroundConfig
) -> ScienceFrame:
    """Return what is known of a calibrated image whose pixels are at hand.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : mapping
        Of science_images.
    data : bytes
        The image's file; only its header is read.
    image : numpy.ndarray (ny, nx), float32
        What the file holds, sky included.
    mask : numpy.ndarray (ny, nx), uint16
    config : BackgroundConfig

    Raises
    ------
    UnusableInputError
        If the header lacks what it must have.
    """
    header = scan(data)[1].header
    gain = header.value("GAIN")
    if not isinstance(gain, int | float) or not gain > 0:
        raise UnusableInputError(f"GAIN is {gain!r}", subject=str(row["path"]), remedy=REMEDY)
    background = measure_background(image, mask, UNUSABLE, config)
    ny, nx = image.shape
    return ScienceFrame(
        row=row,
        wcs=from_header(wcs_cards(header), subject=str(row["path"])),
        shape=(ny, nx),
        gain=float(gain),
        level=background.level,
        noise=background.noise,
        lakehouse=lakehouse,
    )


def wcs_cards(header: Header) -> dict[str, Any]:
    """Return the keywords of a TPV solution that a header has."""
    names = [f"{name}{axis}" for name in _WCS for axis in (1, 2)]
    names += [f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)]
    names += [f"PV{axis}_{term}" for axis in (1, 2) for term in range(_TERMS)]
    return {name: header.value(name) for name in names if name in header}


def _pixels(lakehouse: Lakehouse, row: Row) -> tuple[Image, Mask]:
    image, mask = (
        decode_image(read_stored(lakehouse, row, suffix, remedy=REMEDY), subject=f"{row['path']}, {suffix}")
        for suffix in (ScienceSuffix.IMAGE.value, ScienceSuffix.MASK.value)
    )
    return image, mask
