"""Every point source of one image: its PSF, then places and fluxes of all sources (reference 4.2, 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import PeaksConfig, detect_peaks, estimate_fwhm
from zsds_tasks.pixels.psf_build import build_psf
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_photometry import isolated_stamps, measure_sources
from zsds_tasks.pixels.psf_stars import PsfBuildConfig, TooFewStarsError
from zsds_tasks.products.masks import UNUSABLE

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
EDGE = -1


class PointSourcesConfig(Declaration):
    """How sources are found, the PSF is made and fitted."""

    peaks: PeaksConfig = PeaksConfig()
    build: PsfBuildConfig = PsfBuildConfig()
    photometry: PsfPhotometryConfig = PsfPhotometryConfig()


@dataclass(frozen=True)
class PointSources:
    """PSF-fitted sources of one image, in order of y, then x.

    Parameters
    ----------
    psf : PsfModel
    x, y : (N) float64, FITS 1-based pixels
    x_error, y_error : (N) float64, pixels
    flux, flux_error : (N) float64, DN
    chi : (N) float64
        RMS residual over that expected.
    sharp : (N) float64
        About 0 for points, above for extended sources, below for spikes.
    n_pixels : (N) int32
        Usable pixels in the fit.
    """

    psf: PsfModel
    x: Floats
    y: Floats
    x_error: Floats
    y_error: Floats
    flux: Floats
    flux_error: Floats
    chi: Floats
    sharp: Floats
    n_pixels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.x)


def measure_point_sources(
    image: Image,
    mask: Mask,
    noise: Mesh,
    gain: float,
    config: PointSourcesConfig,
    *,
    unusable_bits: int = UNUSABLE,
    out: Image | None = None,
    subject: str = "image",
) -> PointSources:
    """Find and measure the point sources of an image without sky.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
    mask : numpy.ndarray (ny, nx), uint16
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN.
    config : PointSourcesConfig
    unusable_bits : int
        Pixels with any of these do not count.
    out : numpy.ndarray (ny, nx), float32, optional
        Scratch, so that none is allocated; afterwards the image without its sources.
    subject : str
        What errors name.

    Returns
    -------
    PointSources

    Raises
    ------
    UnusableInputError
        If there are too few stars for a PSF; the numbers are in the message.
    """
    bits = unusable_bits
    fwhm = estimate_fwhm(image, mask, bits, noise, gain, config.peaks)
    peaks = detect_peaks(image, mask, bits, noise, gain, fwhm, config.peaks)
    isolate = isolated_stamps(image, mask, bits, noise, gain, peaks, config.photometry, out)
    try:
        psf = build_psf(image, mask, bits, noise, gain, peaks, fwhm, config.build, isolate)
    except TooFewStarsError as error:
        raise UnusableInputError(
            f"no PSF: {error}", subject=subject, remedy="look at the image for clouds, trailing or defocus"
        ) from error
    found = measure_sources(
        image, mask, bits, noise, gain, psf, peaks, config.peaks, config.photometry, out
    ).sources
    return PointSources(
        psf=psf,
        x=found.x + 1.0,
        y=found.y + 1.0,
        x_error=found.x_error,
        y_error=found.y_error,
        flux=found.flux,
        flux_error=found.flux_error,
        chi=found.chi,
        sharp=found.sharp,
        n_pixels=found.n_pixels,
    )


def box_flags(
    mask: Mask, x: NDArray[np.floating], y: NDArray[np.floating], half: int = 2
) -> NDArray[np.int32]:
    """Return the OR of a mask over boxes of 2 half + 1 pixels; `EDGE` where a box leaves the image.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
    x, y : (N) float, FITS 1-based pixels
    half : int

    Returns
    -------
    numpy.ndarray (N), int32
    """
    ny, nx = mask.shape
    column, row = np.rint(x).astype(np.int64) - 1, np.rint(y).astype(np.int64) - 1
    flags = np.full(len(column), EDGE, np.int32)
    inside = np.flatnonzero((column >= half) & (column < nx - half) & (row >= half) & (row < ny - half))
    column, row = column[inside], row[inside]
    found = np.zeros(len(inside), np.uint16)
    for i in range(-half, half + 1):
        for j in range(-half, half + 1):
            found |= mask[row + i, column + j]
    flags[inside] = found
    return flags
