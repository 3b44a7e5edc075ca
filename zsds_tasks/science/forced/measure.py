"""Flux at fixed places of a difference image, by its PSF (reference section 12.2).

The noise of a difference is white, so the best estimate of a flux at a known place gives all pixels one
weight: F = sum P (D - sky) / sum P^2. The sky is the median of the pixels around the PSF, their robust
scatter the noise of a pixel; the light of a source that is measured adds its own noise. ZTF's upsampling by
whole fine pixels, and the factors that mend what it does to fluxes, are not needed: a cubic spline shifts
the PSF.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import map_coordinates, spline_filter

from zsds_tasks.declarations import Declaration

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]
MAD_TO_SIGMA: Final = 1.4826
MEDIAN_OVER_MEAN: Final = np.sqrt(np.pi / 2)
"""Error of the median of Gaussian noise over that of the mean."""
FINE: Final = "0"
FEW_SKY_PIXELS, MOSTLY_BAD, SOME_BAD, OFF_THE_IMAGE, UNREADABLE = "54", "55", "56", "61", "64"
"""Codes of ZTF's ``procstatus``; under all but `SOME_BAD` there is no flux."""


class ForcedConfig(Declaration):
    """How fluxes are measured at given places."""

    half_px: int = Field(12, ge=8, description="half side of the stamp: 25 x 25 pixels")
    fit_radius_px: Positive = Field(6.0, description="pixels within it give the flux")
    sky_radius_px: Positive = Field(7.0, description="pixels of the stamp beyond it give the sky")
    aperture_radius_px: Positive = Field(4.5, description="pixels within it must not be mostly bad")
    most_bad: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of bad pixels in that")
    fewest_sky_px: int = Field(100, ge=10, description="good pixels that a sky takes")
    poor_fit: float = Field(
        1.5, ge=1, description="above this reduced chi-square the error grows by its root"
    )


@dataclass(frozen=True)
class ForcedFluxes:
    """Fluxes at places, arrays (n).

    Parameters
    ----------
    flux, sigma : float64
        DN of the difference; NaN where there is none.
    chi2 : float64
        Reduced chi-square of the PSF.
    sky : float64
        Local level of the difference, DN.
    status : tuple of str
        Codes with commas between, "0" if nothing befell.
    """

    flux: Floats
    sigma: Floats
    chi2: Floats
    sky: Floats
    status: tuple[str, ...]


def measure_forced(
    image: Image, psf: Image, x: Floats, y: Floats, gain: float, config: ForcedConfig
) -> ForcedFluxes:
    """Measure fluxes at places of a difference image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        DN; NaN where bad. Only rows within ``half_px`` of a place are looked at.
    psf : numpy.ndarray (s, s), float32, s odd
        PSF of the difference, its star in the middle of the middle pixel, of unit sum.
    x, y : numpy.ndarray (n), float64, px
        0-based.
    gain : float
        Electrons per DN.
    config : ForcedConfig

    Returns
    -------
    ForcedFluxes
        A place whose stamp is not wholly on the image has none.
    """
    half, n = config.half_px, len(x)
    ny, nx = image.shape
    column, row = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = (column >= half) & (column < nx - half) & (row >= half) & (row < ny - half)
    values = np.full((4, n), np.nan)
    status = [OFF_THE_IMAGE] * n
    at = np.flatnonzero(inside)
    if at.size:
        steps = np.arange(-half, half + 1)
        rows, columns = row[at].astype(np.int64), column[at].astype(np.int64)
        stamps = image[rows[:, None, None] + steps[:, None], columns[:, None, None] + steps]
        places = np.stack([x[at] - columns, y[at] - rows])
        values[:, at], codes = _fit(stamps.astype(np.float64), psf, places, gain, config)
        for k, code in zip(at, codes, strict=True):
            status[k] = code
    return ForcedFluxes(values[0], values[1], values[2], values[3], tuple(status))


def _fit(
    stamps: Floats, psf: Image, places: Floats, gain: float, config: ForcedConfig
) -> tuple[Floats, list[str]]:
    """Return flux, sigma, chi-square and sky (4, n) of stamps (n, s, s), and their codes."""
    sky, noise, n_sky = _sky(stamps, config)
    inner = min(int(np.ceil(config.fit_radius_px)) + 1, config.half_px)
    cut = slice(config.half_px - inner, config.half_px + inner + 1)
    core = stamps[:, cut, cut]
    steps = np.arange(-inner, inner + 1)
    across, along = (steps - places[0][:, None])[:, None, :], (steps - places[1][:, None])[:, :, None]
    radius = np.hypot(across, along)
    good = np.isfinite(core)
    used = good & (radius <= config.fit_radius_px)
    near = radius <= config.aperture_radius_px
    bad = 1.0 - (near & good).sum(axis=(1, 2)) / near.sum(axis=(1, 2))
    light = np.where(used, core - sky[:, None, None], 0.0)
    model = np.where(used, _shifted(psf, across, along), 0.0)
    norm = (model**2).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = (model * light).sum(axis=(1, 2)) / norm
        photons = np.clip(flux, 0.0, None)[:, None, None] * np.clip(model, 0.0, None) / gain
        variance = noise[:, None, None] ** 2 + photons
        of_pixels = (model**2 * variance).sum(axis=(1, 2)) / norm**2
        of_sky = (MEDIAN_OVER_MEAN * noise * model.sum(axis=(1, 2)) / norm) ** 2 / np.maximum(n_sky, 1)
        residual = (light - flux[:, None, None] * model) ** 2 / variance
        chi2 = np.where(used, residual, 0.0).sum(axis=(1, 2)) / (used.sum(axis=(1, 2)) - 1)
        sigma = np.sqrt(of_pixels * np.where(chi2 > config.poor_fit, chi2, 1.0) + of_sky)
    few, mostly = n_sky < config.fewest_sky_px, (bad > config.most_bad) | ~(sigma > 0)
    values = np.stack([flux, sigma, chi2, sky])
    values[:, few | mostly] = np.nan
    conditions = ((FEW_SKY_PIXELS, few), (MOSTLY_BAD, mostly & ~few), (SOME_BAD, bad > 0))
    codes = [",".join(code for code, holds in conditions if holds[k]) or FINE for k in range(len(stamps))]
    return values, codes


def _sky(stamps: Floats, config: ForcedConfig) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return level, scatter and number of the good pixels (n) around the middle of stamps."""
    steps = np.arange(-config.half_px, config.half_px + 1)
    around = stamps[:, np.hypot(steps[:, None], steps) > config.sky_radius_px]
    n_good = np.isfinite(around).sum(axis=1)
    whole = n_good == around.shape[1]
    level, scatter = np.zeros(len(stamps)), np.zeros(len(stamps))
    # Half of the work is to step over NaN, which few stamps hold; one of which nothing is left has no sky.
    for chosen, median in ((whole, np.median), (~whole & (n_good > 0), np.nanmedian)):
        level[chosen] = median(around[chosen], axis=1)
        scatter[chosen] = MAD_TO_SIGMA * median(np.abs(around[chosen] - level[chosen, None]), axis=1)
    return level, scatter, n_good


def _shifted(psf: Image, across: Floats, along: Floats) -> Floats:
    """Return the PSF at pixels (n, s, s) that lie so far, px, from its middle."""
    middle = (np.array(psf.shape) - 1) / 2
    places = np.stack(np.broadcast_arrays(along + middle[0], across + middle[1]))
    coefficients = spline_filter(psf.astype(np.float64), order=3)
    values = map_coordinates(coefficients, places, order=3, mode="constant", prefilter=False)
    return np.asarray(values, np.float64)
