"""A stored reference on the grid of a science image: image, uncertainty, PSF and stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.pixels.fits import scan
from zsds_tasks.pixels.warp import CoarseMap, WarpConfig, warp, warp_linear
from zsds_tasks.products.psf_files import DaoPsf, parse_psf
from zsds_tasks.science.photometry.spatial import SpatialTerm
from zsds_tasks.sky.pixel_map import pixel_map
from zsds_tasks.sky.wcs import Wcs, from_header
from zsds_tasks.steps.science_frames import spatial_term, wcs_cards
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.filenames import ReferenceSuffix

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Row = Mapping[str, Any]
REMEDY = "have the reference built again"
FILES = (ReferenceSuffix.IMAGE, ReferenceSuffix.UNCERTAINTY, ReferenceSuffix.PSF_MODEL)


@dataclass(frozen=True)
class ReferenceFrame:
    """One reference as stored.

    Parameters
    ----------
    row : mapping
        Of references.
    image, uncertainty : numpy.ndarray (ny, nx), float32
        DN of one zero point all over; NaN where there is nothing.
    wcs : Wcs
    gain, zero_point : float
        Of all its frames together.
    psf : DaoPsf
    spatial : SpatialTerm
        How the zero point changes over the image as stored, and fluxes of its sources with it.
    """

    row: Row
    image: Image = field(repr=False)
    uncertainty: Image = field(repr=False)
    wcs: Wcs
    gain: float
    zero_point: float
    psf: DaoPsf = field(repr=False)
    spatial: SpatialTerm


def open_reference(lakehouse: Lakehouse, row: Row) -> ReferenceFrame:
    """Read a reference.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : mapping
        Of references, with its path and products.

    Raises
    ------
    UnusableInputError
        If a file is gone or is not the one that the row names.
    """
    data = {suffix: read_stored(lakehouse, row, suffix.value, remedy=REMEDY) for suffix in FILES}
    header = scan(data[ReferenceSuffix.IMAGE])[1].header
    subject = str(row["path"])
    image, uncertainty = (
        decode_image(data[suffix], subject=subject)
        for suffix in (ReferenceSuffix.IMAGE, ReferenceSuffix.UNCERTAINTY)
    )
    ny, nx = image.shape
    term = spatial_term(header, (ny, nx), subject=subject)
    term.flatten(image)
    term.flatten(uncertainty)
    return ReferenceFrame(
        row=row,
        image=image,
        uncertainty=uncertainty,
        wcs=from_header(wcs_cards(header), subject=subject),
        gain=_number(header.value("GAIN"), "GAIN", subject),
        zero_point=_number(header.value("MAGZP"), "MAGZP", subject),
        psf=parse_psf(data[ReferenceSuffix.PSF_MODEL], subject=subject),
        spatial=term,
    )


@dataclass(frozen=True)
class WarpedPsf:
    """The PSF of an image that was resampled onto another grid: turned, flipped and stretched as the grid is.

    Parameters
    ----------
    psf : DaoPsf
        On the input's grid.
    chart : CoarseMap
        From output to input pixels.
    """

    psf: DaoPsf
    chart: CoarseMap

    def stamp(self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return the PSF at the 0-based output place (x, y), the star `shift` px from its middle."""
        around = np.array([x, x + 1.0, x]), np.array([y, y, y + 1.0])
        column, row = self.chart.at(*around)
        jacobian = np.array([[column[1] - column[0], 0.0], [row[1] - row[0], 0.0]])
        jacobian[:, 1] = column[2] - column[0], row[2] - row[0]
        half = size // 2
        given = self.psf.stamp(column[0] + 1, row[0] + 1, size + 4)
        dy, dx = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
        dx, dy = dx - shift[0], dy - shift[1]
        places = [jacobian[1, 0] * dx + jacobian[1, 1] * dy, jacobian[0, 0] * dx + jacobian[0, 1] * dy]
        area = abs(float(np.linalg.det(jacobian)))
        drawn = map_coordinates(given, [place + half + 2 for place in places], order=3, mode="constant")
        return np.asarray(drawn * area, np.float32)


@dataclass(frozen=True)
class OnScienceGrid:
    """A reference resampled onto the grid of a science image.

    Parameters
    ----------
    image, uncertainty, coverage : numpy.ndarray (ny, nx), float32
        DN, DN, and the share of the kernel that had light: 0 to 1.
    psf : WarpedPsf
    """

    image: Image
    uncertainty: Image
    coverage: Image
    psf: WarpedPsf


def on_science_grid(
    reference: ReferenceFrame, wcs: Wcs, shape: tuple[int, int], config: WarpConfig, step: int
) -> OnScienceGrid:
    """Resample a reference.

    Parameters
    ----------
    reference : ReferenceFrame
    wcs : Wcs
        Of the science image.
    shape : (ny, nx)
        Of it.
    config : WarpConfig
    step : int
        Pixels between nodes of the map.
    """
    chart = CoarseMap.of(pixel_map(wcs, reference.wcs), shape, step)
    nothing = np.zeros(reference.image.shape, np.uint16)  # pixels that are NaN are unusable as it is
    done = warp(reference.image, nothing, 0, chart, config)
    return OnScienceGrid(
        image=done.image,
        uncertainty=warp_linear(reference.uncertainty, chart),
        coverage=done.coverage,
        psf=WarpedPsf(reference.psf, chart),
    )


def _number(value: object, keyword: str, subject: str) -> float:
    if not isinstance(value, int | float):
        raise UnusableInputError(f"{keyword} is {value!r}", subject=subject, remedy=REMEDY)
    return float(value)
