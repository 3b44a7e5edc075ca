"""From a first match to the polynomial: match, fit, clip, match closer.

Everything happens on one tangent plane, that of the middle of the image, in arcseconds. The solution under
way is a polynomial of normalised pixels; each fit corrects its lowest coefficients, so that with few stars
the shape of the prior model survives in the higher ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.science.astrometry.config import FitConfig
from zsds_tasks.sky.wcs import n_terms

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CLIP_ROUNDS = 6
RAYLEIGH_MEDIAN = 1.1774  # of the length of a vector of two unit normals
SMALLEST_RADIUS_ARCSEC = 0.5
FIRST_FLOOR_ARCSEC = 0.5  # while the model is wrong by more than the centroids, all stars count alike
RADIUS_PER_SPREAD = 6.0
KEPT_SHARE = 0.8  # a higher degree may not buy its gain by clipping more than that away


@dataclass(frozen=True)
class Positions:
    """Both sides of the match, each from bright to faint.

    Parameters
    ----------
    design : (N, n_terms) float64
        Monomials of the sources' normalised pixels.
    sigma : (N) float64, arcsec
        Per axis.
    catalog : (M, 2) float64, arcsec
        On the tangent plane.
    area_arcsec2 : float
        Of the image.
    """

    design: Floats
    sigma: Floats
    catalog: Floats
    area_arcsec2: float

    @cached_property
    def tree(self) -> cKDTree:
        """All catalogue stars."""
        # Neither compact nor balanced: built twice as fast, searched as fast, since stars lie evenly.
        return cKDTree(self.catalog, compact_nodes=False, balanced_tree=False)


@dataclass(frozen=True)
class Match:
    """Pairs of row numbers of `Positions`, no row twice."""

    source: Integers
    star: Integers


@dataclass(frozen=True)
class Fit:
    """A fitted polynomial.

    Parameters
    ----------
    coefficients : (n_terms, 2) float64, arcsec
    degree : int
        Up to which the stars determined it.
    match : Match
        The pairs that count.
    residuals : (n, 2) float64, arcsec
        Source minus star, of these pairs.
    n_clipped : int
        Pairs that were left out.
    expected_by_chance : float
        Pairs that unrelated positions would have made in the last matching.
    """

    coefficients: Floats
    degree: int
    match: Match
    residuals: Floats
    n_clipped: int
    expected_by_chance: float


def refine(start: Floats, positions: Positions, config: FitConfig) -> Fit:
    """Match and fit until nothing is left to gain.

    Parameters
    ----------
    start : (n_terms, 2) float64, arcsec
        Polynomial after the search, right within `config.start_radius_arcsec`.
    positions : Positions
    config : FitConfig

    Returns
    -------
    Fit
        Possibly of no pairs at all.
    """
    coefficients, radius = start, config.start_radius_arcsec
    bright, best = (positions.design[:n] for n in (config.bright_sources, config.max_sources))
    # Bright sources are first looked for among bright stars only: in a crowded field each has several
    # faint neighbours within the first radius.
    n_bright_stars = int(len(positions.catalog) * min(1.0, 3.0 * len(bright) / len(positions.design)))
    bright_tree = cKDTree(positions.catalog[: max(n_bright_stars, min(len(positions.catalog), 100))])
    stages = (
        (bright, bright_tree, 1, FIRST_FLOOR_ARCSEC),
        (bright, bright_tree, 2, FIRST_FLOOR_ARCSEC / 2),
        (bright, positions.tree, config.degree, 0.0),
        (best, positions.tree, config.degree, 0.0),
        (best, positions.tree, config.degree, 0.0),
    )
    fit = Fit(coefficients, 0, Match(*np.empty((2, 0), np.int64)), np.empty((0, 2)), 0, 0.0)
    for sources, tree, degree, floor in stages:
        places = sources @ coefficients
        match = match_nearest(places, tree, radius)
        chance = len(places) * tree.n * np.pi * radius**2 / _covered_area(positions)
        missing = tree.data[match.star] - places[match.source]
        if len(match.source) < max(config.min_matches, n_terms(1)):
            return Fit(coefficients, 0, match, -missing, 0, float(chance))
        sigma = np.hypot(positions.sigma[match.source], floor)
        reached, correction, keep = _fit_degree(
            sources[match.source], missing, sigma, min(fit.degree, degree), degree, config
        )
        columns = sources[match.source, : len(correction)]
        coefficients = coefficients.copy()
        coefficients[: len(correction)] += correction
        residuals = (columns @ correction - missing)[keep]
        kept = Match(match.source[keep], match.star[keep])
        fit = Fit(coefficients, reached, kept, residuals, int(np.count_nonzero(~keep)), float(chance))
        spread = 1.4826 * float(np.median(np.abs(residuals)))
        radius = max(RADIUS_PER_SPREAD * spread, SMALLEST_RADIUS_ARCSEC)
        radius = min(radius, config.final_radius_arcsec)
    return fit


def match_nearest(places: Floats, tree: cKDTree, radius: float) -> Match:
    """Pair each place with the nearest star within a radius; a star goes to the nearest of its claimants.

    Parameters
    ----------
    places : (N, 2) float64, arcsec
    tree : cKDTree
    radius : float, arcsec
    """
    distance, star = tree.query(places, distance_upper_bound=radius)
    source = np.flatnonzero(np.isfinite(distance))
    source = source[np.argsort(distance[source], kind="stable")]
    _, first = np.unique(star[source], return_index=True)
    source = np.sort(source[first])
    return Match(source, star[source].astype(np.int64))


def degree_for(n_stars: int, highest: int, stars_per_coefficient: float) -> int:
    """Return the highest degree that so many stars can determine; -1 for none."""
    return max((d for d in range(highest + 1) if n_stars >= stars_per_coefficient * n_terms(d)), default=-1)


def _fit_degree(
    columns: Floats, missing: Floats, sigma: Floats, proven: int, highest: int, config: FitConfig
) -> tuple[int, Floats, NDArray[np.bool_]]:
    """Fit with as many coefficients as the stars call for: degree, correction, pairs that count.

    A degree that their number hardly allows must be proven, here or before, by what it gains.
    """
    n = len(missing)
    possible = degree_for(n, highest, config.fewest_stars_per_coefficient)
    degree = max(1, min(proven, possible), degree_for(n, highest, config.stars_per_coefficient))
    correction, keep = fit_clipped(columns[:, : n_terms(degree)], missing, sigma, config.clip_sigma)
    for bolder in range(degree + 1, possible + 1):
        better, kept = fit_clipped(columns[:, : n_terms(bolder)], missing, sigma, config.clip_sigma)
        gain = _information(columns[kept], missing[kept], sigma[kept], correction) - _information(
            columns[kept], missing[kept], sigma[kept], better
        )
        if gain > 0 and np.count_nonzero(kept) >= KEPT_SHARE * np.count_nonzero(keep):
            degree, correction, keep = bolder, better, kept
    return degree, correction, keep


def _information(columns: Floats, target: Floats, sigma: Floats, coefficients: Floats) -> float:
    """Bayesian information criterion of a fit whose errors are known up to a factor; smaller is better."""
    misses = (columns[:, : len(coefficients)] @ coefficients - target) / sigma[:, None]
    mean_square = max(float(np.mean(misses**2)), 1e-12)
    return float(misses.size * np.log(mean_square) + coefficients.size * np.log(misses.size))


def fit_clipped(
    columns: Floats, target: Floats, sigma: Floats, clip_sigma: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Weighted linear least squares, both axes at once, without the pairs that do not belong.

    Parameters
    ----------
    columns : (n, k) float64
    target : (n, 2) float64, arcsec
    sigma : (n) float64, arcsec
    clip_sigma : float
        In units of sigma times the scatter found.

    Returns
    -------
    coefficients : (k, 2) float64
    keep : (n) bool
    """
    # The median is a start that false matches cannot move; the fit then takes over.
    start = np.hypot(*(target - np.median(target, axis=0)).T)
    keep = start <= 3.0 * max(float(np.median(start)), 1e-6)
    weights = 1.0 / sigma**2
    coefficients = np.zeros((columns.shape[1], 2))
    for _ in range(CLIP_ROUNDS):
        weighted = columns[keep] * weights[keep, None]
        # Normalised monomials are well conditioned; lstsq only guards a degenerate layout of few stars.
        coefficients = np.linalg.lstsq(weighted.T @ columns[keep], weighted.T @ target[keep], rcond=None)[0]
        chi = np.hypot(*(columns @ coefficients - target).T) / sigma
        # Never below the errors themselves: few stars are followed too closely to show their scatter.
        scatter = max(float(np.median(chi[keep])) / RAYLEIGH_MEDIAN, 1.0)
        kept, keep = keep, chi <= clip_sigma * scatter
        if np.array_equal(kept, keep):
            break
    return coefficients, keep


def _covered_area(positions: Positions) -> float:
    """Area over which the catalogue stars at hand are spread; not below the image's."""
    extent = np.ptp(positions.catalog, axis=0)
    return max(float(extent[0] * extent[1]), positions.area_arcsec2)
