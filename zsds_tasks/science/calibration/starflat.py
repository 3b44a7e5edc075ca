"""Smooth response of a channel from stars of known magnitude: illumination correction (reference 3.5).

Stars of many exposures are measured all over the channel. Catalogue minus measured magnitude is the error
of the exposure's zero point plus 2.5 log10 of the response where the star fell. The response is a
Chebyshev polynomial in column and row, each exposure has a constant of its own; both are solved for
together, with clipping. A prior of their size holds the terms about zero, so that few stars give a smooth
map instead of a wild one. Zero points are solved per channel: what is constant over a channel is theirs,
and the map has mean 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.calibration.acceptance import MapLimits
from zsds_tasks.science.calibration.robust import SIGMA_PER_MAD
from zsds_tasks.science.calibration.shutter import SmoothMap, mesh_nodes, smooth_map
from zsds_tasks.science.calibration.starresiduals import StarResiduals

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]
POGSON = 2.5 / np.log(10.0)
"""Magnitudes per unit of relative response, near 1."""


class StarFlatConfig(Declaration):
    """How stars become a map."""

    order: Annotated[int, Field(ge=1, le=12)] = Field(
        8, description="highest power in column and in row; the prior keeps the fine ones small"
    )
    prior_mag: Positive = Field(0.02, description="expected size of the coarsest terms, mag")
    prior_order: Positive = Field(
        1.5, description="sum of the powers at which the expected size is half of that"
    )
    clip_sigma: Positive = Field(3.0, description="stars further off are out")
    iterations: Annotated[int, Field(ge=1, le=20)] = Field(5, description="of clipping, at most")
    floor_mag: Positive = Field(0.008, description="scatter that every star has besides its errors")
    cell_px: Annotated[int, Field(ge=8)] = Field(32, description="side of a cell of the map, px")
    zones: Annotated[int, Field(ge=1, le=16)] = Field(
        4, description="the effect is measured in so many by so many parts of the channel"
    )
    min_stars: Annotated[int, Field(ge=10)] = Field(200, description="measurements after clipping")
    min_exposures: Annotated[int, Field(ge=1)] = Field(
        4, description="clouds over one exposure must not look like response"
    )
    min_zone_stars: Annotated[int, Field(ge=1)] = Field(3, description="in every one of the parts")
    limits: MapLimits = MapLimits(max_noise=0.006, max_offset=0.005, max_change=0.01)


@dataclass(frozen=True)
class StarFlat:
    """A smooth response and what it does.

    Parameters
    ----------
    response : SmoothMap
        Relative, mean 1: images are divided by it.
    n_stars, n_clipped : int
        Measurements used and left out.
    n_exposures : int
    scatter : float
        Robust scatter of the residuals after the map, mag.
    rms_before, rms_after : float
        RMS of the mean residual of the zones, mag: in the images as they were, and with the map; after is
        measured on exposures that did not enter the map.
    rms_noise : float
        What noise alone makes of that RMS.
    faults : tuple of str
        What is wrong with the stars, if anything.
    """

    response: SmoothMap
    n_stars: int
    n_clipped: int
    n_exposures: int
    scatter: float
    rms_before: float
    rms_after: float
    rms_noise: float
    faults: tuple[str, ...]


def fit_star_flat(stars: StarResiduals, shape: tuple[int, int], config: StarFlatConfig) -> StarFlat:
    """Fit the smooth response of one channel in one filter.

    Parameters
    ----------
    stars : StarResiduals
    shape : (ny, nx)
        Of the channel.
    config : StarFlatConfig

    Returns
    -------
    StarFlat

    Raises
    ------
    UnusableInputError
        If there are fewer measurements than `min_stars`.
    """
    stars = stars.take(np.isfinite(stars.residual) & np.isfinite(stars.error))
    if len(stars.x) < config.min_stars:
        raise UnusableInputError(f"{len(stars.x)} measurements of stars, {config.min_stars} are needed")
    solution = _solve(stars, shape, config)
    kept = stars.take(solution.kept)
    counts = np.bincount(_zone(kept, shape, config.zones), minlength=config.zones**2)
    faults = []
    if len(kept.x) < config.min_stars:
        faults.append(f"{len(kept.x)} measurements of stars, {config.min_stars} are needed")
    if counts.min() < config.min_zone_stars:
        faults.append(f"{counts.min()} stars in a part of the channel, {config.min_zone_stars} are needed")
    n_exposures = len(np.unique(kept.exposure))
    if n_exposures < config.min_exposures:
        faults.append(f"{n_exposures} exposures, {config.min_exposures} are needed")
    before, noise = _zone_rms(kept, kept.as_found, shape, config.zones)
    return StarFlat(
        response=_response(solution, shape, config.cell_px),
        n_stars=len(kept.x),
        n_clipped=len(stars.x) - len(kept.x),
        n_exposures=n_exposures,
        scatter=SIGMA_PER_MAD * float(np.median(np.abs(solution.rest[solution.kept]))),
        rms_before=before,
        rms_after=_rms_after(kept, shape, config),
        rms_noise=noise,
        faults=tuple(faults),
    )


@dataclass(frozen=True)
class _Solution:
    coefficients: Floats
    covariance: Floats
    order: int
    kept: NDArray[np.bool_]
    rest: Floats


def _solve(stars: StarResiduals, shape: tuple[int, int], config: StarFlatConfig) -> _Solution:
    """Clip and fit in turn until nothing changes."""
    terms = _terms(stars.x, stars.y, shape, config.order)
    sigma = np.hypot(stars.error, config.floor_mag)
    _, exposure = np.unique(stars.exposure, return_inverse=True)
    kept = np.abs(stars.residual - _by_exposure_median(stars.residual, exposure)) < 1.0
    prior = np.diag(_expected(config) ** -2.0)
    for _ in range(config.iterations):
        weight = np.where(kept, sigma**-2.0, 0.0)
        of_terms, of_residual = (
            _without_mean(weight, exposure, terms),
            _without_mean(weight, exposure, stars.residual[:, None]),
        )
        weighted = weight[:, None] * of_terms
        normal = weighted.T @ of_terms
        inverse = np.linalg.inv(normal + prior)
        coefficients = inverse @ (weighted.T @ of_residual[:, 0])
        rest = of_residual[:, 0] - of_terms @ coefficients
        pull = rest / sigma
        spread = SIGMA_PER_MAD * float(np.median(np.abs(pull[kept]))) if kept.any() else 1.0
        again = np.abs(pull) < config.clip_sigma * max(spread, 1.0)
        if np.array_equal(again, kept):
            break
        kept = again
    # Errors of catalogues and stars that vary come on top of the formal ones.
    covariance = np.asarray(inverse * max(spread, 1.0) ** 2, np.float64)
    return _Solution(np.asarray(coefficients, np.float64), covariance, config.order, kept, rest)


def _without_mean(weight: Floats, exposure: NDArray[np.int64], values: Floats) -> Floats:
    """Take the weighted mean of every exposure out of columns (n, k)."""
    total = np.maximum(np.bincount(exposure, weight), 1e-300)
    means = np.stack([np.bincount(exposure, weight * column) / total for column in values.T], axis=1)
    return np.asarray(values - means[exposure])


def _by_exposure_median(values: Floats, exposure: NDArray[np.int64]) -> Floats:
    order = np.argsort(exposure, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(exposure))[:-1])
    medians = np.array([np.median(values[part]) for part in parts])
    return np.asarray(medians[exposure])


def _terms(x: Floats, y: Floats, shape: tuple[int, int], order: int) -> Floats:
    """Return the terms (n, (order + 1)^2 - 1) at 0-based pixels: all products but the constant."""
    ny, nx = shape
    across, down = 2.0 * x / (nx - 1) - 1.0, 2.0 * y / (ny - 1) - 1.0
    return np.asarray(chebyshev.chebvander2d(down, across, [order, order])[:, 1:])


def _expected(config: StarFlatConfig) -> Floats:
    """Return the expected size (mag) of the terms: less, the finer they are."""
    down, across = np.divmod(np.arange(1, (config.order + 1) ** 2), config.order + 1)
    return np.asarray(config.prior_mag / (1.0 + ((down + across) / config.prior_order) ** 2))


def _response(solution: _Solution, shape: tuple[int, int], cell: int) -> SmoothMap:
    ny, nx = shape
    x, y = mesh_nodes(shape, cell)
    down, across = _axis_terms(y[:, 0], ny, solution.order), _axis_terms(x[0], nx, solution.order)
    terms = (down[:, None, :, None] * across[None, :, None, :]).reshape(x.size, -1)[:, 1:]
    terms -= terms.mean(axis=0)
    response = 10.0 ** (0.4 * (terms @ solution.coefficients))
    response /= response.mean()
    error = np.sqrt(np.einsum("ni,ij,nj->n", terms, solution.covariance, terms)) / POGSON * response
    return smooth_map(response.reshape(x.shape), error.reshape(x.shape), cell, shape)


def _axis_terms(place: Floats, n: int, order: int) -> Floats:
    """Return the terms of one axis; straight beyond the last pixel, where a polynomial must not be asked."""
    inside = np.minimum(place, n - 1.0)
    terms = chebyshev.chebvander(2.0 * inside / (n - 1) - 1.0, order)
    mirrored = chebyshev.chebvander(2.0 * (2.0 * inside - place) / (n - 1) - 1.0, order)
    return np.asarray(2.0 * terms - mirrored)


def _rms_after(stars: StarResiduals, shape: tuple[int, int], config: StarFlatConfig) -> float:
    """Return the RMS of the zones with maps of the other half of the exposures; NaN with one exposure."""
    numbers, exposure = np.unique(stars.exposure, return_inverse=True)
    if len(numbers) < 2:
        return float("nan")
    corrected = np.full(len(stars.x), np.nan)
    for half in range(2):
        mine = exposure % 2 == half
        solution = _solve(stars.take(~mine), shape, config)
        terms = _terms(stars.x[mine], stars.y[mine], shape, config.order)
        corrected[mine] = stars.residual[mine] - terms @ solution.coefficients
    return _zone_rms(stars, corrected, shape, config.zones)[0]


def _zone_rms(
    stars: StarResiduals, residual: Floats, shape: tuple[int, int], zones: int
) -> tuple[float, float]:
    """Return the RMS over the zones of their mean residual, and what the errors alone make of it."""
    weight = stars.error**-2.0
    _, exposure = np.unique(stars.exposure, return_inverse=True)
    rest = _without_mean(weight, exposure, residual[:, None])[:, 0]
    zone = _zone(stars, shape, zones)
    total = np.bincount(zone, weight, zones**2)
    known = total > 0
    means = np.bincount(zone, weight * rest, zones**2)[known] / total[known]
    return float(np.sqrt(np.mean(means**2))), float(np.sqrt(np.mean(1.0 / total[known])))


def _zone(stars: StarResiduals, shape: tuple[int, int], zones: int) -> NDArray[np.int64]:
    ny, nx = shape
    row = np.clip(stars.y * zones / ny, 0, zones - 1).astype(np.int64)
    column = np.clip(stars.x * zones / nx, 0, zones - 1).astype(np.int64)
    return np.asarray(row * zones + column)
