"""Point sources of one quadrant: detection, PSF, PSF photometry (reference sections 4.2 and 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import PeaksConfig, detect_peaks, estimate_fwhm
from zsds_tasks.pixels.psf_build import build_psf
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_photometry import PsfPhotometry, isolated_stamps, measure_sources
from zsds_tasks.pixels.psf_stars import PsfBuildConfig, TooFewStarsError
from zsds_tasks.products.masks import UNUSABLE, MaskBit

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
SOURCE_BITS = MaskBit.DETECTION.flag | MaskBit.PSF_SOURCE.flag
FWHM_TOLERANCE = 0.2


class PointSourcesConfig(Declaration):
    """How point sources are found and measured."""

    peaks: PeaksConfig = Field(PeaksConfig(), description="detection")
    psf: PsfBuildConfig = Field(PsfBuildConfig(), description="the PSF and its stars")
    photometry: PsfPhotometryConfig = Field(PsfPhotometryConfig(), description="the fits")


@dataclass(frozen=True)
class PointSources:
    """PSF-fitted sources of one quadrant, in order of y, then x: the measured columns of psfcat.

    Parameters
    ----------
    sourceid : numpy.ndarray (N), int32
        Row, from 0.
    xpos, ypos : numpy.ndarray (N), float64
        FITS 1-based, px.
    flux, sigflux : numpy.ndarray (N), float64
        DN and its 1-sigma error.
    sigx, sigy : numpy.ndarray (N), float64
        1-sigma errors of the position, px.
    snr : numpy.ndarray (N), float64
        Flux over its error.
    chi : numpy.ndarray (N), float64
        RMS residual over that expected.
    sharp : numpy.ndarray (N), float64
        Variance of the profile beyond the PSF's, square px: about 0 for points.
    n_pixels : numpy.ndarray (N), int32
        Usable pixels in the fit.
    is_hidden : numpy.ndarray (N), bool
        Fitted on the wings: the core is unusable (saturated).
    psf : PsfModel
        Its places are 0-based.
    sky : Mesh
        Level left under the sources beyond what was subtracted before, DN per pixel; fluxes are free of it.
    residual : numpy.ndarray (ny, nx), float32, or None
        The image without sources and `sky`, NaN where unusable; if asked for.
    """

    sourceid: NDArray[np.int32]
    xpos: Floats
    ypos: Floats
    flux: Floats
    sigflux: Floats
    sigx: Floats
    sigy: Floats
    snr: Floats
    chi: Floats
    sharp: Floats
    n_pixels: NDArray[np.int32]
    is_hidden: NDArray[np.bool_]
    psf: PsfModel
    sky: Mesh
    residual: Image | None

    def __len__(self) -> int:
        """Return how many sources."""
        return len(self.sourceid)


def measure_point_sources(
    image: Image,
    mask: Mask,
    noise: Mesh,
    gain: float,
    config: PointSourcesConfig,
    unusable_bits: int = UNUSABLE,
    *,
    scratch: Image | None = None,
    keep_residual: bool = False,
) -> PointSources:
    """Find all point sources of a quadrant, model its PSF and fit it to them.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Sky-subtracted, DN; not changed.
    mask : numpy.ndarray (ny, nx), uint16
    noise : Mesh
        Of the sky, DN per pixel.
    gain : float
        Electrons per DN.
    config : PointSourcesConfig
    unusable_bits : int
        Pixels with any of them are not used.
    scratch : numpy.ndarray (ny, nx), float32, optional
        Worked in, and holds the residual image then; saves an allocation.
    keep_residual : bool
        Return the residual image.

    Returns
    -------
    PointSources

    Raises
    ------
    UnusableInputError
        If too few stars make a PSF; `cause` is "too_few_stars", and the counts are among its facts.
    ValueError
        If shapes do not agree.
    """
    pixels = (image, mask, unusable_bits, noise, gain)
    scratch = np.empty_like(image) if scratch is None else scratch
    guess = estimate_fwhm(*pixels, config.peaks)
    peaks = detect_peaks(*pixels, guess, config.peaks)
    isolate = isolated_stamps(*pixels, peaks, config.photometry, scratch)
    try:
        psf = build_psf(*pixels, peaks, guess, config.psf, isolate)
    except TooFewStarsError as error:
        raise UnusableInputError(
            "too few stars make a PSF",
            remedy="look for clouds, bad focus or a wrong mask",
            cause="too_few_stars",
            peaks=error.n_peaks,
            candidates=error.n_candidates,
            agreeing=error.n_kept,
            needed=error.needed,
        ) from error
    if abs(psf.fwhm / guess - 1) > FWHM_TOLERANCE:  # within it the filter's width costs under 1 % of S/N
        peaks = detect_peaks(*pixels, psf.fwhm, config.peaks)
    found = measure_sources(*pixels, psf, peaks, config.peaks, config.photometry, scratch)
    return _columns(found, psf, keep_residual=keep_residual)


def _columns(found: PsfPhotometry, psf: PsfModel, *, keep_residual: bool) -> PointSources:
    sources = found.sources
    return PointSources(
        sourceid=np.arange(len(sources), dtype=np.int32),
        xpos=sources.x + 1,
        ypos=sources.y + 1,
        flux=sources.flux,
        sigflux=sources.flux_error,
        sigx=sources.x_error,
        sigy=sources.y_error,
        snr=sources.flux / sources.flux_error,
        chi=sources.chi,
        sharp=sources.sharp,
        n_pixels=sources.n_pixels,
        is_hidden=sources.is_hidden,
        psf=psf,
        sky=found.sky,
        residual=found.residual if keep_residual else None,
    )


def box_flags(
    mask: Mask, x: NDArray[np.floating], y: NDArray[np.floating], half: int = 2
) -> NDArray[np.int32]:
    """Return the mask around each source as psfcat's `flags`.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
    x, y : numpy.ndarray (N)
        FITS 1-based.
    half : int
        Half side of the box, px: 2 is 5 x 5.

    Returns
    -------
    numpy.ndarray (N), int32
        The bit-wise OR over the box around the pixel nearest to the source, without the bits of sources (1
        and 11); -1 where the box does not lie wholly inside.
    """
    out = np.empty(len(x), np.int32)
    _box_flags(mask, np.asarray(x, np.float64), np.asarray(y, np.float64), half, SOURCE_BITS, out)
    return out


@compiled("void(u2[:, ::1], f8[::1], f8[::1], i8, i8, i4[::1])", cache=True, nogil=True)
def _box_flags(mask: Mask, x: Floats, y: Floats, half: int, ignored: int, out: NDArray[np.int32]) -> None:
    ny, nx = mask.shape
    for k in range(len(x)):
        column, row = int(np.rint(x[k])) - 1, int(np.rint(y[k])) - 1
        if row < half or column < half or row >= ny - half or column >= nx - half:
            out[k] = -1
            continue
        flags = 0
        for i in range(row - half, row + half + 1):
            for j in range(column - half, column + half + 1):
                flags |= mask[i, j]
        out[k] = flags & ~ignored
