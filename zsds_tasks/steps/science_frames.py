"""Calibrated images as stored: read back with mask, sky, noise and WCS, for what needs several of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from zsds_tasks.products.science_headers import ZP_TERMS
from zsds_tasks.science.photometry.spatial import SpatialTerm
from zsds_tasks.science.photometry.spatial import from_header as from_cards
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
    level : Mesh
        Sky, DN as stored.
    noise : Mesh
        Its 1 sigma, DN of the zero point of the row, as is what `load` returns.
    spatial : SpatialTerm
        How the zero point changes over the image as stored: what flat fields got wrong. Flats get better, so
        images of different nights are wrong by different amounts.
    """

    row: Row
    wcs: Wcs
    shape: tuple[int, int]
    gain: float
    level: Mesh
    noise: Mesh
    spatial: SpatialTerm
    lakehouse: Lakehouse = field(repr=False)

    def load(self) -> tuple[Image, Mask]:
        """Return the image without its sky (DN), on one zero point all over, and its mask."""
        image, mask = _pixels(self.lakehouse, self.row)
        self.reduce(image)
        return image, mask

    def reduce(self, image: Image) -> None:
        """Take the sky off an image as stored, and bring it to one zero point, in place."""
        self.level.add_to(image, -1.0)
        self.spatial.flatten(image)


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
    term = spatial_term(header, (ny, nx), subject=str(row["path"]))
    x, y = background.noise.middles
    noise = background.noise.values * term.flux_factor(x + 1, y + 1)
    return ScienceFrame(
        row=row,
        wcs=from_header(wcs_cards(header), subject=str(row["path"])),
        shape=(ny, nx),
        gain=float(gain),
        level=background.level,
        noise=replace(background.noise, values=np.ascontiguousarray(noise, np.float32)),
        spatial=term,
        lakehouse=lakehouse,
    )


def wcs_cards(header: Header) -> dict[str, Any]:
    """Return the keywords of a TPV solution that a header has."""
    names = [f"{name}{axis}" for name in _WCS for axis in (1, 2)]
    names += [f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)]
    names += [f"PV{axis}_{term}" for axis in (1, 2) for term in range(_TERMS)]
    return {name: header.value(name) for name in names if name in header}


def spatial_term(header: Header, shape: tuple[int, int], *, subject: str) -> SpatialTerm:
    """Return how the zero point changes over a calibrated image or a reference, from its header.

    Files of before 2026-11 do not say: their zero point counts as one.

    Raises
    ------
    UnusableInputError
        If the header says so, but not how.
    """
    if "ZPORDER" not in header:
        return SpatialTerm.none(shape)
    cards = {name: header.value(name) for name in ("ZPORDER", *ZP_TERMS.values()) if name in header}
    return from_cards(cards, shape, subject=subject)


def _pixels(lakehouse: Lakehouse, row: Row) -> tuple[Image, Mask]:
    image, mask = (
        decode_image(read_stored(lakehouse, row, suffix, remedy=REMEDY), subject=f"{row['path']}, {suffix}")
        for suffix in (ScienceSuffix.IMAGE.value, ScienceSuffix.MASK.value)
    )
    return image, mask
