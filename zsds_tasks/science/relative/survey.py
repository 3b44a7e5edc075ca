"""One photometric scale for a whole survey, from stars on overlapping images.

    m_ij = M_i + Z_j + F_c(ij) + noise,   Z_j = a_n + k_n (X_j - 1) + b_s + d_j

for star i on image j of night n and zone s of the sky at airmass X, in cell c of a quadrant's flat
(Padmanabhan et al. 2008, ApJ 674, 1217, "ubercal"). The stars' magnitudes are eliminated; what is left is
solved by conjugate gradients on the normal equations, whose matrix is never formed: one pass over the
observations multiplies by it. Images of a survey are calibrated one by one already, so d, a, b, k, F are
expected near zero (priors); images that nothing else ties fall back to that, and no scale drifts across the
sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.relative.config import SurveyConfig
from zsds_tasks.science.relative.epochs import Bools, Floats, Rows, counting_sort
from zsds_tasks.science.relative.survey_solver import Problem, Solved, solve, star_means

Short = NDArray[np.int32]


@dataclass(frozen=True)
class SurveyObservations:
    """Stars on images; columns (n).

    Parameters
    ----------
    star, image : int64
        From 0, numbered by identifiers (`epochs.number_by`). A star is one object of the sky in one filter,
        not a seed of one unit: it is what ties units.
    mag, error : float64, mag
    n_stars, n_images : int
    cell : int64, optional
        Cell of the flat, from 0: quadrant x place on it.
    n_cells : int
    """

    star: Rows
    image: Rows
    mag: Floats
    error: Floats
    n_stars: int
    n_images: int
    cell: Rows | None = None
    n_cells: int = 0


@dataclass(frozen=True)
class SurveyImages:
    """What is known about images; columns (n_images), each optional.

    Parameters
    ----------
    night : int64
        From 0: fits a zero point and an extinction for each.
    airmass : float64
        Needed with `night`.
    zone : int64
        From 0; field, or field and quadrant: images that share the errors of the catalogue they are
        calibrated by. Without it the errors of images count as independent, and would overrule weak ties
        between fields.
    sigma : float64, mag
        Error of the image's own calibration, instead of `SurveyConfig.image_sigma_mag`; inf: unknown.
    """

    night: Rows | None = None
    airmass: Floats | None = None
    zone: Rows | None = None
    sigma: Floats | None = None


@dataclass(frozen=True)
class SurveySolution:
    """The scale of a survey.

    Parameters
    ----------
    offset : (n_images) float64, mag
        Added to magnitudes of the image.
    flat : (n_cells) float64, mag
        Added likewise.
    night_zero, night_extinction : (n_nights) float64, mag and mag per airmass
        What of the offset belongs to the night: a and k of the formula, of the same sign as `offset`.
    star_mag, star_chi : (n_stars) float64
        Mean of corrected magnitudes, NaN for stars on no image; RMS residual in errors, NaN below two epochs.
    component : (n_images) int32
        Images of the same number are tied by stars. Between others only the priors speak.
    n_used : (n_images) int64
        Observations.
    iterations : int
        Of all rounds.
    residual : float
        Of the normal equations, relative.
    """

    offset: Floats
    flat: Floats
    night_zero: Floats
    night_extinction: Floats
    star_mag: Floats
    star_chi: Floats
    component: Short
    n_used: Rows
    iterations: int
    residual: float


def calibrate_survey(
    observations: SurveyObservations, images: SurveyImages, config: SurveyConfig
) -> SurveySolution:
    """Solve for all images of a survey in one filter.

    Parameters
    ----------
    observations : SurveyObservations
        Of stars; those that vary are found and left out.
    images : SurveyImages
    config : SurveyConfig

    Returns
    -------
    SurveySolution
        Where images of a component have no prior, the mean of their offsets is zero.

    Raises
    ------
    UnusableInputError
        If numbers are out of range, nights come without airmass, or nights without a prior on images.
    """
    problem = build_problem(observations, images, config)
    weight, solved, iterations = problem.weight, None, 0
    for _ in range(config.rounds):
        solved = solve(problem, weight, config, start=None if solved is None else solved.parameters)
        iterations += solved.iterations
        means, chi, weight = star_means(problem, solved.parameters, config)
    if solved is None:
        raise AssertionError("rounds >= 1")
    return _finish(problem, solved, means, chi, weight, iterations)


def sample_errors(
    observations: SurveyObservations,
    images: SurveyImages,
    config: SurveyConfig,
    random: np.random.Generator,
    draws: int = 16,
) -> Floats:
    """Return (n_images) the 1-sigma errors of the offsets by drawing from their posterior distribution.

    Noise of the size of the errors and of the priors, put on the right side, gives solutions that scatter as
    the answer is uncertain (Papandreou and Yuille 2010): exact up to the number of draws, 1 / sqrt(2 draws),
    without an inverse of the matrix. Overall shifts of components without priors are left out.
    """
    problem = build_problem(observations, images, config)
    squares = np.zeros(problem.n_images)
    for _ in range(draws):
        noise = random.normal(size=len(problem.weight)) / np.sqrt(problem.weight)
        parameters = solve(problem, problem.weight, config, noise=noise, random=random).parameters
        squares += _fix_gauge(problem, problem.image_offsets(parameters)) ** 2
    return np.asarray(np.sqrt(squares / draws), np.float64)


def build_problem(observations: SurveyObservations, images: SurveyImages, config: SurveyConfig) -> Problem:
    """Check the input, sort it by star and image, and lay out the parameters."""
    _check(observations, images, config)
    keys = [np.ascontiguousarray(column, np.int64) for column in (observations.image, observations.star)]
    order = counting_sort(keys[0], np.arange(len(keys[0])), observations.n_images)
    order = counting_sort(keys[1], order, observations.n_stars)
    star = observations.star[order]
    variance = observations.error[order] ** 2 + config.floor_mag**2
    n_images, n_cells = observations.n_images, observations.n_cells
    to_images, precision, counts = _lay_out(images, n_images, n_cells, config)
    cell = None if observations.cell is None else observations.cell[order].astype(np.int32)
    return Problem(
        starts=np.searchsorted(star, np.arange(observations.n_stars + 1)).astype(np.int64),
        image=observations.image[order].astype(np.int32),
        cell=np.zeros(0, np.int32) if cell is None else cell,
        mag=np.asarray(observations.mag[order], np.float64), weight=1.0 / variance, to_images=to_images,
        precision=precision, n_images=n_images, n_zones=counts[0], n_nights=counts[1], n_cells=n_cells,
        component=_components(star, observations.image[order], observations),
    )  # fmt: skip


def _lay_out(
    images: SurveyImages, n_images: int, n_cells: int, config: SurveyConfig
) -> tuple[Any, Floats, tuple[int, int]]:
    """Return how parameters add up to offsets of images, their precision, numbers of zones and nights."""
    every, ones = np.arange(n_images), np.ones(n_images)
    sigma = ones * (np.inf if config.image_sigma_mag is None else config.image_sigma_mag)
    if images.sigma is not None:
        sigma = np.asarray(images.sigma, np.float64)
    columns, values, size = [every], [ones], n_images
    n_zones = n_nights = 0
    if images.zone is not None:
        n_zones = int(images.zone.max()) + 1
        columns.append(size + images.zone)
        values.append(ones)
        size += n_zones
    if images.night is not None and images.airmass is not None:
        n_nights = int(images.night.max()) + 1
        columns += [size + images.night, size + n_nights + images.night]
        values += [ones, np.asarray(images.airmass, np.float64) - 1.0]
        size += 2 * n_nights
    where = (np.tile(every, len(columns)), np.concatenate(columns))
    to_images = sparse.csr_matrix((np.concatenate(values), where), shape=(n_images, size))
    precision = np.concatenate([
        sigma**-2.0, np.full(n_zones, config.zone_sigma_mag**-2.0),
        np.full(n_nights, config.night_sigma_mag**-2.0), np.full(n_nights, config.extinction_sigma_mag**-2.0),
        np.full(n_cells, config.flat_sigma_mag**-2.0),
    ])  # fmt: skip
    return to_images, precision, (n_zones, n_nights)


def _check(observations: SurveyObservations, images: SurveyImages, config: SurveyConfig) -> None:
    subject = "observations of a survey"
    pairs = [
        ("star", observations.star, observations.n_stars),
        ("image", observations.image, observations.n_images),
    ]
    if observations.cell is not None:
        pairs.append(("cell", observations.cell, observations.n_cells))
    for name, numbers, limit in pairs:
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < limit:
            raise UnusableInputError(
                f"{name} from {numbers.min()} to {numbers.max()}, not 0 to {limit - 1}",
                subject=subject, remedy="number them with number_by",
            )  # fmt: skip
    if not (np.isfinite(observations.mag).all() and np.all(observations.error > 0)):
        raise UnusableInputError(
            "magnitudes that are no numbers, or errors that are not positive",
            subject=subject, remedy="leave these observations out",
        )  # fmt: skip
    if images.night is None and images.zone is None:
        return
    if images.night is not None and images.airmass is None:
        raise UnusableInputError("nights without the images' airmass", subject=subject, remedy="give both")
    if config.image_sigma_mag is None and images.sigma is None:
        raise UnusableInputError(
            "nights or zones are fitted, but offsets of images may be anything, so they tell nothing",
            subject=subject, remedy="set image_sigma_mag",
        )  # fmt: skip


def _components(star: Rows, image: Rows, observations: SurveyObservations) -> Short:
    """Return (n_images) int32: which images are tied by stars."""
    n = observations.n_images
    graph = sparse.coo_matrix(
        (np.ones(len(star), np.int8), (image, n + star)), shape=(n + observations.n_stars,) * 2
    )
    labels = csgraph.connected_components(graph, directed=False)[1][:n]
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def _fix_gauge(problem: Problem, zero: Floats) -> Floats:
    """Take the mean off the images of each component that has no prior."""
    free = np.bincount(problem.component, problem.precision[: problem.n_images]) == 0
    mean = np.bincount(problem.component, zero) / np.bincount(problem.component)
    return zero - np.where(free, mean, 0.0)[problem.component]


def _finish(
    problem: Problem, solved: Solved, means: Floats, chi: Floats, weight: Floats, iterations: int
) -> SurveySolution:
    zero = problem.image_offsets(solved.parameters)
    shift = _fix_gauge(problem, zero) - zero
    last = len(solved.parameters) - problem.n_cells
    nights = solved.parameters[problem.n_images + problem.n_zones : last].reshape(2, -1)
    stars = np.repeat(np.arange(len(means)), np.diff(problem.starts))
    moved = np.full(len(means), np.nan)
    moved[stars] = means[stars] - shift[problem.image]  # all images of a star share a component
    used: Bools = weight > 0
    return SurveySolution(
        offset=-(zero + shift), flat=-solved.parameters[last:], night_zero=-nights[0],
        night_extinction=-nights[1], star_mag=moved, star_chi=chi, component=problem.component,
        n_used=np.bincount(problem.image[used], minlength=problem.n_images), iterations=iterations,
        residual=solved.residual,
    )  # fmt: skip
