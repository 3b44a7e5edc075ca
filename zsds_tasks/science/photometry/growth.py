"""From apertures to total light: the growth curve of bright lone stars, or of the PSF where they are few.

Total is the light on the PSF's stamp of 25 x 25 pixels, so that apertures and PSF photometry mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.aperture_circle import circle_sum
from zsds_tasks.pixels.aperture_extent import STAMP, PointSpread

Floats = NDArray[np.float64]
MAG_OF_RATIO = 2.5 / np.log(10)
SIGMA_PER_MAD = 1.4826
MEDIAN_LOSS = 1.2533
"""Error of a median over that of a mean, normal scatter."""
PLACES = (0.17, 0.5, 0.83)
"""Along each side of the image, where the PSF's growth is taken."""
PHASES = (-0.375, -0.125, 0.125, 0.375)
"""Places within a pixel, px."""
CELLS = 3
"""Along each side, where the correction's constancy is checked."""


class GrowthConfig(Declaration):
    """Which stars the growth curve is made from."""

    total_diameter: Annotated[float, Field(ge=8, le=24)] = Field(
        20.0, description="px; beyond it the light of the PSF's stamp is added"
    )
    least_snr: Annotated[float, Field(gt=0)] = Field(150.0, description="of a star, in its largest circle")
    most_stars: Annotated[int, Field(ge=10)] = Field(400, description="the brightest are taken")
    least_stars: Annotated[int, Field(ge=3)] = Field(15, description="with fewer the PSF alone is used")
    most_lost: Annotated[float, Field(ge=0, le=1)] = Field(
        0.02, description="share of a star's largest circle that other sources or bad pixels may take"
    )
    clip_mads: Annotated[float, Field(gt=0)] = Field(3.0, description="stars further off are left out")
    least_per_cell: Annotated[int, Field(ge=2)] = Field(5, description="stars where constancy is checked")


@dataclass(frozen=True)
class GrowthCurve:
    """Aperture corrections of one image.

    Parameters
    ----------
    correction : numpy.ndarray (R), float64
        Add to an aperture magnitude to get that of the total light, mag (not positive).
    error : numpy.ndarray (R), float64
        1 sigma of the correction, mag.
    scatter : numpy.ndarray (R), float64
        Robust scatter from star to star, mag; NaN if from the PSF.
    span : numpy.ndarray (R), float64
        Largest minus smallest median over cells of a 3 x 3 grid less what noise makes of it, mag; NaN where
        under two cells have stars enough.
    n_stars : int
        Used; 0 if from the PSF.
    psf_difference : numpy.ndarray (R), float64
        Correction minus that of the PSF alone, mag.
    """

    correction: Floats
    error: Floats
    scatter: Floats
    span: Floats
    n_stars: int
    psf_difference: Floats


def growth_of_psf(psf: PointSpread, shape: tuple[int, int], radii: Floats) -> tuple[Floats, Floats]:
    """Return mean and scatter over the image (R each) of the PSF's share of light in circles.

    The mean is also over places within a pixel: of a small circle the share depends on it.
    """
    middle = STAMP // 2
    shares = np.zeros((len(PLACES) ** 2, len(radii)))
    phases = [(u, v) for u in PHASES for v in PHASES]
    for k, (u, v) in enumerate((u, v) for u in PLACES for v in PLACES):
        for shift in phases:
            place = u * (shape[1] - 1), v * (shape[0] - 1)
            stamp = np.ascontiguousarray(psf.stamp(*place, STAMP, shift))
            at = (middle + shift[0], middle + shift[1])
            shares[k] += [circle_sum(stamp, *at, r) / len(phases) for r in radii]
    return shares.mean(axis=0), shares.std(axis=0)


def growth_curve(
    light: Floats,
    noise: Floats,
    place: tuple[Floats, Floats],
    psf_share: tuple[Floats, Floats],
    shape: tuple[int, int],
    config: GrowthConfig,
) -> GrowthCurve:
    """Make the growth curve of an image.

    Parameters
    ----------
    light, noise : numpy.ndarray (N, R + 1), float64
        Of bright isolated stars in circles and its error; the last circle is the largest one.
    place : tuple of numpy.ndarray (N)
        x and y, 0-based, px.
    psf_share : tuple of numpy.ndarray (R + 1)
        See `growth_of_psf`, for the same circles.
    shape : (ny, nx)
    config : GrowthConfig

    Returns
    -------
    GrowthCurve
        Of the first R circles.
    """
    share, share_spread = psf_share
    of_psf = 2.5 * np.log10(share)
    positive = np.all(light > 0, axis=1)
    light, noise, x, y = light[positive], noise[positive], place[0][positive], place[1][positive]
    if len(light) < config.least_stars:
        error = MAG_OF_RATIO * share_spread / share
        nothing = np.full(len(share) - 1, np.nan)
        return GrowthCurve(of_psf[:-1], error[:-1], nothing, nothing, 0, np.zeros(len(share) - 1))
    drop = 2.5 * np.log10(light[:, :-1] / light[:, -1:])
    kept = np.ones(len(drop), np.bool_)
    for _ in range(3):
        middle, scatter = _middle(drop[kept])
        kept = np.all(np.abs(drop - middle) <= config.clip_mads * np.maximum(scatter, 1e-4), axis=1)
        if np.count_nonzero(kept) < config.least_stars:
            kept = np.ones(len(drop), np.bool_)
            break
    middle, scatter = _middle(drop[kept])
    n = int(np.count_nonzero(kept))
    tail = MAG_OF_RATIO * (1 - share[-1]) / share[-1] / 3
    error = np.hypot(MEDIAN_LOSS * scatter / np.sqrt(n), tail)
    correction = middle + of_psf[-1]
    relative = MAG_OF_RATIO * np.hypot(
        noise[kept, :-1] / light[kept, :-1], noise[kept, -1:] / light[kept, -1:]
    )
    span = _span(drop[kept], relative, x[kept] / shape[1], y[kept] / shape[0], config.least_per_cell)
    return GrowthCurve(correction, error, scatter, span, n, correction - of_psf[:-1])


def _middle(values: Floats) -> tuple[Floats, Floats]:
    middle = np.median(values, axis=0)
    return middle, SIGMA_PER_MAD * np.median(np.abs(values - middle), axis=0)


def _span(drop: Floats, noise: Floats, u: Floats, v: Floats, least: int) -> Floats:
    """Return the span (R) of the medians over cells; the span that noise alone would make is taken off."""
    cell = np.clip((v * CELLS).astype(int), 0, CELLS - 1) * CELLS + np.clip(
        (u * CELLS).astype(int), 0, CELLS - 1
    )
    rows = [np.flatnonzero(cell == k) for k in range(CELLS**2)]
    rows = [found for found in rows if len(found) >= least]
    if len(rows) < 2:
        return np.full(drop.shape[1], np.nan)
    medians = np.array([np.median(drop[found], axis=0) for found in rows])
    errors = np.array(
        [MEDIAN_LOSS * np.sqrt(np.mean(noise[found] ** 2, axis=0) / len(found)) for found in rows]
    )
    span = np.ptp(medians, axis=0)
    # The expected range of n normal values is about 3 sigma for the n of 4 to 9 there are.
    return np.sqrt(np.maximum(span**2 - 9 * np.mean(errors**2, axis=0), 0.0))
