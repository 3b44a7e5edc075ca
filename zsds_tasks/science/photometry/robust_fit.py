"""Weighted linear least squares among outliers, with priors, and with the scatter that errors do not tell.

Each point either belongs, and is off by its error and a common scatter (variable stars, flats, the PSF
model), or it is anything within a wide range. Shares, scatter and coefficients are found together by
expectation maximisation (Hogg, Bovy and Lang 2010, arXiv:1008.4686, section 3, with a flat second component).
A point that is off counts less without a hard limit, so the scatter is not narrowed by what was cut off, and
the formal errors of the coefficients are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BISQUARE = 4.685  # 95 % efficient for normal errors
SIGMA_PER_MAD = 1.4826
START_ROUNDS = 20
ROUNDS = 60
CONVERGED = 0.01  # of the error of a coefficient
SMALLEST = 1e-4  # spread of the start: exact data must not divide by zero
PRIOR_SHARE, PRIOR_POINTS = 0.05, 10.0  # outliers expected, as if seen among so many points
TINY = 1e-12  # variance of points without errors, so that none divides by zero
ROOT_2PI = float(np.sqrt(2.0 * np.pi))


@dataclass(frozen=True)
class Prior:
    """What is known beforehand.

    Parameters
    ----------
    mean, precision : (k) float64
        Of the coefficients; precision is the inverse variance.
    scatter : float
        Beyond the errors, as if seen from `scatter_points` points: a few real ones would often show none.
    scatter_points : float
    """

    mean: Floats
    precision: Floats
    scatter: float
    scatter_points: float


@dataclass(frozen=True)
class LinearFit:
    """A fit to the points that belong.

    Parameters
    ----------
    coefficients : (k) float64
    covariance : (k, k) float64
    belongs : (n) float64
        Probability that a point is none of the outliers.
    scatter : float
        Beyond the errors, in their unit.
    information : float
        Bayesian information criterion of all points; smaller is better.
    """

    coefficients: Floats
    covariance: Floats
    belongs: Floats
    scatter: float
    information: float

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Points that more probably belong than not."""
        return self.belongs > 0.5


def shortest_half(values: Floats) -> tuple[float, float]:
    """Return the middle and half the width of the shortest interval that holds half of the values.

    Unlike the median it stays at the densest place when the outliers all lie on one side.

    Parameters
    ----------
    values : (n) float64
        At least one.
    """
    ordered = np.sort(values)
    half = len(ordered) // 2 + 1
    widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
    first = int(np.argmin(widths))
    return float(ordered[first] + ordered[first + half - 1]) / 2, float(widths[first]) / 2


def fit_robustly(
    design: Floats, target: Floats, sigma: Floats, start: Floats, prior: Prior, outlier_range: float
) -> LinearFit:
    """Fit target = design @ coefficients.

    Parameters
    ----------
    design : (n, k) float64
    target : (n) float64
    sigma : (n) float64
        Errors known beforehand.
    start : (k) float64
        Coefficients from which most points are not far.
    prior : Prior
    outlier_range : float
        Width over which outliers are spread, in the unit of the target.

    Returns
    -------
    LinearFit
    """
    coefficients, spread = _bisquare(design, target, sigma, start, prior)
    variance, share = sigma**2, PRIOR_SHARE
    excess = max(spread**2 - float(np.median(variance)), 0.0)
    for _ in range(ROUNDS):
        residuals = target - design @ coefficients
        belongs, _ = _membership(residuals, variance + excess, share, outlier_range)
        excess = _excess_variance(residuals, variance, belongs, prior, excess)
        share = (np.sum(1.0 - belongs) + PRIOR_SHARE * PRIOR_POINTS) / (len(target) + PRIOR_POINTS)
        last = coefficients
        coefficients, normal = _solve(design, target, belongs / (variance + excess), prior)
        moved = coefficients - last
        if moved @ normal @ moved < CONVERGED**2:
            break
    belongs, likelihood = _membership(target - design @ coefficients, variance + excess, share, outlier_range)
    information = -2.0 * float(np.sum(np.log(likelihood))) + len(start) * float(np.log(len(target)))
    covariance = np.asarray(np.linalg.inv(normal), np.float64)
    return LinearFit(coefficients, covariance, belongs, float(np.sqrt(excess)), information)


def _membership(
    residuals: Floats, variance: Floats, share: float, outlier_range: float
) -> tuple[Floats, Floats]:
    """Return the probability that each point belongs, and its likelihood."""
    good = (1.0 - share) * np.exp(-0.5 * residuals**2 / variance) / (ROOT_2PI * np.sqrt(variance))
    likelihood = good + share / outlier_range
    return good / likelihood, likelihood


def _excess_variance(
    residuals: Floats, variance: Floats, belongs: Floats, prior: Prior, start: float
) -> float:
    """Return what must be added to the variances for a reduced chi square of one; zero if nothing must."""
    freedom = max(float(np.sum(belongs)) - len(prior.mean), 1.0) + prior.scatter_points
    # The points of the prior have no errors: all their scatter is excess.
    squares = np.append(belongs * residuals**2, prior.scatter_points * prior.scatter**2)
    known = np.append(variance, TINY)
    if np.sum(squares / known) <= freedom:
        return 0.0
    excess = start
    for _ in range(30):  # Newton: the sum falls and is convex, so from the left it never passes the root
        total = known + excess
        surplus = float(np.sum(squares / total)) - freedom
        step = surplus / float(np.sum(squares / total**2))
        excess = max(excess + step, 0.0)
        if abs(step) < 1e-3 * excess:
            break
    return excess


def _bisquare(
    design: Floats, target: Floats, sigma: Floats, start: Floats, prior: Prior
) -> tuple[Floats, float]:
    """Return coefficients and spread by reweighting with Tukey's bisquare, which forgets what is far off."""
    coefficients, spread = start, np.inf
    for _ in range(START_ROUNDS):
        residuals = target - design @ coefficients
        last, spread = spread, max(SIGMA_PER_MAD * float(np.median(np.abs(residuals))), SMALLEST)
        share = np.clip(1.0 - (residuals / (BISQUARE * spread)) ** 2, 0.0, None) ** 2
        coefficients, _ = _solve(design, target, share / (sigma**2 + spread**2), prior)
        if abs(spread - last) < 0.02 * spread:
            break
    return coefficients, spread


def _solve(design: Floats, target: Floats, weight: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Return the coefficients and the inverse of their covariance."""
    weighted = design.T * weight
    normal = weighted @ design
    normal.flat[:: len(normal) + 1] += prior.precision
    right = weighted @ target + prior.precision * prior.mean
    return np.asarray(np.linalg.solve(normal, right), np.float64), normal
