"""One flux scale and one place for two images: from stars they share (reference section 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Positive = Annotated[float, Field(gt=0)]
SIGMA_PER_MAD = 1.4826
ROUNDS = 5


class AlignConfig(Declaration):
    """Which stars match two images, and what is made of them."""

    brightest_mag: float = Field(15.0, description="of reference stars; brighter ones may saturate")
    faintest_mag: float = Field(19.5, description="of reference stars")
    star_class: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="least star-galaxy class")
    least_snr: Positive = Field(20.0, description="least flux over error in both images")
    lonely_px: Annotated[float, Field(ge=0)] = Field(
        10.0, description="no neighbour in a square of twice this side, px"
    )
    edge_px: Annotated[float, Field(ge=0)] = Field(100.0, description="least distance to an edge, px")
    edge_share: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.08, description="of the side of the image, where that is less: for small ones"
    )
    match_px: Positive = Field(1.0, description="farthest a star may be from its place, px")
    least_matches: Annotated[int, Field(ge=3)] = Field(
        20, description="fewer: the zero points decide on the flux scale"
    )
    placed_snr: Positive = Field(
        60.0,
        description="stars of so much tell the registration, if they are enough: others scatter by noise",
    )
    least_placed: Annotated[int, Field(ge=3)] = Field(
        8, description="fewer: the default is the error of the registration"
    )
    sigma_floor_px: Positive = Field(0.02, description="least error of the registration per axis, px")
    sigma_default_px: Positive = Field(0.25, description="the same with fewer than `least_placed` stars, px")
    shift_px: Positive = Field(0.1, description="a larger residual offset should be taken out, px")
    gradient_gain: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="of the scatter that a gradient over the image must remove to be used"
    )
    gradient_sigma: Positive = Field(4.0, description="its significance along one axis at least")
    clip_sigma: Positive = Field(4.0, description="flux ratios farther off are left out, in their errors")
    ratio_error: Positive = Field(
        0.005, description="of a flux ratio, relative, beyond the noise of both: flat fields, PSFs, variables"
    )


@dataclass(frozen=True)
class StarList:
    """Sources of one image on the grid of the science image.

    Parameters
    ----------
    xpos, ypos : numpy.ndarray (N), float64
        FITS 1-based px.
    flux, sigflux : numpy.ndarray (N), float64
        DN of its own image; apertures or PSF fits, the same for both images.
    mag : numpy.ndarray (N), float64
    is_star : numpy.ndarray (N), float64
        Star-galaxy class, 1 for points.
    is_usable : numpy.ndarray (N), bool
        Neither saturated nor flagged nor oddly shaped.
    """

    xpos: Floats
    ypos: Floats
    flux: Floats
    sigflux: Floats
    mag: Floats
    is_star: Floats
    is_usable: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many."""
        return len(self.xpos)


@dataclass(frozen=True)
class Alignment:
    """How science and reference fit together.

    Parameters
    ----------
    factor : (f, fx, fy)
        The science image times f + fx u + fy v has the reference's flux scale; u, v = -1 to 1 over the image.
    sigma_x, sigma_y : float
        Errors of the registration, px.
    offset_x, offset_y : float
        Median place in the science image less that in the reference, px.
    n_matches : int
    scatter : float
        Robust scatter of the flux ratios about `factor`, relative.
    is_fallback : bool
        The zero points decided: too few stars match.
    zero_point_factor : float
        What the zero points say.
    must_shift : bool
        The offset is larger than may stay: resample the reference with it.
    xpos, ypos, flux : numpy.ndarray (M), float64
        Of the stars matched: places and fluxes in the science image.
    """

    factor: tuple[float, float, float]
    sigma_x: float
    sigma_y: float
    offset_x: float
    offset_y: float
    n_matches: int
    scatter: float
    is_fallback: bool
    zero_point_factor: float
    must_shift: bool
    xpos: Floats
    ypos: Floats
    flux: Floats


def align(
    science: StarList,
    reference: StarList,
    zero_points: tuple[float, float],
    shape: tuple[int, int],
    config: AlignConfig,
) -> Alignment:
    """Measure flux scale and residual registration of two images.

    Parameters
    ----------
    science, reference : StarList
    zero_points : (science, reference), mag
    shape : (ny, nx)
        Of the science image.
    config : AlignConfig

    Returns
    -------
    Alignment
        With fewer than `least_matches` stars the factor is that of the zero points; with fewer than
        `least_placed` the errors are the default ones, and there is no offset.
    """
    by_zero_point = float(10 ** (0.4 * (zero_points[1] - zero_points[0])))
    rows, partners = match_stars(science, reference, shape, config)
    stars = (science.xpos[rows], science.ypos[rows], science.flux[rows])
    is_fallback = len(rows) < config.least_matches
    factor, scatter = (by_zero_point, 0.0, 0.0), np.nan
    noises = [one.sigflux[of] / one.flux[of] for one, of in ((science, rows), (reference, partners))]
    if not is_fallback:
        ratio = reference.flux[partners] / stars[2]
        errors = ratio * np.sqrt(noises[0] ** 2 + noises[1] ** 2 + config.ratio_error**2)
        factor, scatter = _factor(ratio, errors, stars[:2], shape, config)
    snr = 1 / np.maximum(*noises)
    steady = np.flatnonzero(snr >= config.placed_snr)
    chosen = steady if len(steady) >= config.least_matches else np.arange(len(rows))
    pairs = ((science.xpos, reference.xpos), (science.ypos, reference.ypos))
    separations = [(a[rows] - b[partners])[chosen] for a, b in pairs]
    sigmas, offsets = _registration(separations, config)
    must_shift = float(np.hypot(*offsets)) > config.shift_px
    return Alignment(
        factor, *sigmas, *offsets, len(rows), scatter, is_fallback, by_zero_point, must_shift, *stars
    )


def _registration(
    separations: list[Floats], config: AlignConfig
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return errors and offsets along x and y, px, of separations (N) along each.

    An offset stays in the images, so it is part of the error. The scatter of few, too few for the flux scale,
    is uncertain itself: one sigma of that is added.
    """
    n = len(separations[0])
    if n < config.least_placed:
        return (config.sigma_default_px, config.sigma_default_px), (0.0, 0.0)
    unsure = 1.0 if n >= config.least_matches else 1 + 1 / np.sqrt(n)
    x, y = (float(np.median(values)) for values in separations)
    scatters = (unsure * robust_sigma(values) for values in separations)
    sx, sy = (
        max(float(np.hypot(scatter, off)), config.sigma_floor_px)
        for scatter, off in zip(scatters, (x, y), strict=True)
    )
    return (sx, sy), (x, y)


def match_stars(
    science: StarList, reference: StarList, shape: tuple[int, int], config: AlignConfig
) -> tuple[Rows, Rows]:
    """Return rows of the stars that match, in both lists: each other's nearest, lonely, bright, inside.

    Parameters
    ----------
    science, reference : StarList
    shape : (ny, nx)
    config : AlignConfig
    """
    none = np.empty(0, np.intp)
    wanted = np.flatnonzero(_is_good(reference, shape, config))
    candidates = np.flatnonzero(_has_light(science, config))
    if not len(wanted) or not len(candidates):
        return none, none
    places = np.column_stack([science.xpos[candidates], science.ypos[candidates]])
    sought = np.column_stack([reference.xpos[wanted], reference.ypos[wanted]])
    distance, near = cKDTree(places).query(sought, distance_upper_bound=config.match_px)
    matched = np.isfinite(distance)
    rows, partners = near[matched], wanted[matched]
    back = cKDTree(sought).query(places[rows])[1]
    mutual = wanted[back] == partners
    return candidates[rows[mutual]], partners[mutual]


def _has_light(stars: StarList, config: AlignConfig) -> NDArray[np.bool_]:
    good = stars.is_usable & (stars.flux > config.least_snr * stars.sigflux) & (stars.sigflux > 0)
    return np.asarray(good & np.isfinite(stars.xpos + stars.ypos))


def _is_good(stars: StarList, shape: tuple[int, int], config: AlignConfig) -> NDArray[np.bool_]:
    """Return which reference stars may serve."""
    ny, nx = shape
    edge_x, edge_y = (min(config.edge_px, config.edge_share * n) for n in (nx, ny))
    good = _has_light(stars, config)
    good &= (stars.mag >= config.brightest_mag) & (stars.mag <= config.faintest_mag)
    good &= stars.is_star >= config.star_class
    good &= (stars.xpos - 1 >= edge_x) & (stars.xpos <= nx - edge_x)
    good &= (stars.ypos - 1 >= edge_y) & (stars.ypos <= ny - edge_y)
    if len(stars) > 1 and config.lonely_px > 0:
        places = np.column_stack([stars.xpos, stars.ypos])
        finite = np.isfinite(places).all(axis=1)
        alone = np.zeros(len(stars), np.bool_)
        # Along the larger of both distances: a square.
        nearest = cKDTree(places[finite]).query(places[finite], k=2, p=np.inf)[0][:, 1]
        alone[finite] = nearest > config.lonely_px
        good &= alone
    return np.asarray(good)


def _factor(
    ratio: Floats, errors: Floats, places: tuple[Floats, Floats], shape: tuple[int, int], config: AlignConfig
) -> tuple[tuple[float, float, float], float]:
    """Return the flux ratio over the image, with a gradient if that helps, and the relative scatter.

    A star counts with its own error: where stars are few the median of all is good to a percent only, and a
    percent of a bright star is a candidate. Variables and wrong matches are clipped.
    """
    ny, nx = shape
    x, y = places
    ones = np.ones((len(x), 1))
    (middle,), _ = _fit(ones, ratio, errors, config)
    flat = robust_sigma(ratio / middle)
    sloped_terms = np.column_stack([ones, (2 * x - 1) / nx - 1, (2 * y - 1) / ny - 1])
    fit, sigmas = _fit(sloped_terms, ratio, errors, config)
    sloped = robust_sigma(ratio - sloped_terms @ fit) / middle
    # With few stars chance alone removes a tenth of the scatter.
    is_certain = np.any(np.abs(fit[1:]) > config.gradient_sigma * sigmas[1:])
    if is_certain and sloped < (1 - config.gradient_gain) * flat:
        return (float(fit[0]), float(fit[1]), float(fit[2])), sloped
    return (float(middle), 0.0, 0.0), flat


def _fit(terms: Floats, ratio: Floats, errors: Floats, config: AlignConfig) -> tuple[Floats, Floats]:
    """Return coefficients (k) of terms (N, k) that give the ratios (N), and their errors.

    Errors are as large as the scatter of the ratios says, if that is more than theirs.
    """
    used = np.ones(len(ratio), np.bool_)
    rest = ratio - np.median(ratio)
    for _ in range(ROUNDS):
        pulls = rest / errors
        wide = max(robust_sigma(pulls), 1.0)
        used = np.abs(pulls - np.median(pulls)) <= config.clip_sigma * wide
        weighted = terms[used] / errors[used, None]
        fit = np.linalg.lstsq(weighted, ratio[used] / errors[used], rcond=None)[0]
        rest = ratio - terms @ fit
    errors_of = wide * np.sqrt(np.diag(np.linalg.pinv(weighted.T @ weighted)))
    return np.asarray(fit, np.float64), np.asarray(errors_of, np.float64)


def robust_sigma(values: Floats) -> float:
    """Return the scatter of values about their median, from the median absolute deviation."""
    return SIGMA_PER_MAD * float(np.median(np.abs(values - np.median(values))))
