"""Fits of folded shapes to a series, and which of them is best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaln

from zsds_tasks.science.variability.bands import LEAST_RATIO, MOST_RATIO, Series
from zsds_tasks.science.variability.curves import Floats
from zsds_tasks.science.variability.dips import scan
from zsds_tasks.science.variability.shapes import fit_shape

RATIO_SIGMA = 0.3
"""How much amplitudes of bands differ from one another before any epoch tells."""


@dataclass(frozen=True)
class Fit:
    """One shape at one frequency.

    Parameters
    ----------
    frequency : float
        Per day.
    order : int
        Harmonics; 0 for eclipses.
    chi2, chi2_constant : float
        Of the shape, and of a constant for each band.
    depths : (2) float64
        Of the eclipses, the deeper first; NaN for a Fourier series.
    model : (N) float64
        The shape at the epochs.
    score : float
        M ln(chi2_constant / chi2) less ln M for each number fitted, M moments of exposure: half of it is the
        logarithm of how much likelier than a constant, whatever the errors are worth (Schwarz's criterion).
    """

    frequency: float
    order: int
    phase: float
    width: float
    chi2: float
    chi2_constant: float
    depths: Floats
    model: Floats
    score: float

    @property
    def n_free(self) -> int:
        """Numbers fitted beyond the constants."""
        return 2 * self.order + 1 if self.order else 5

    @property
    def amplitude(self) -> float:
        """Range of the shape at the epochs, mag of the mean band."""
        return float(np.ptp(self.model))


LEAST_CYCLES = 0.5
"""Of a period in the time base: a fit that runs away below that, or below zero, has found a trend."""


def constant_chi2(series: Series) -> float:
    """Return chi square of a constant for each band."""
    total = 0.0
    for b in range(series.n_bands):
        of = series.band == b
        y, w = series.y[of], series.w[of]
        total += float((w * (y - np.average(y, weights=w)) ** 2).sum())
    return total


def fit_at(series: Series, frequency: float, order: int, chi2_constant: float) -> Fit | None:
    """Fit a Fourier series, or dips if `order` is 0, near a frequency; None if it cannot be."""
    place = np.array([frequency, 0.0, 0.05, np.inf])
    if order == 0:
        where = [np.empty(1), np.empty(1), np.empty(1)]
        scan(series.t, series.y, series.w, frequency, 0.0, *where)
        if not where[0][0] > 0.0:
            return None
        place[1], place[2] = where[1][0], 0.35 * where[2][0]
    n = len(series.t)
    shape = 2 * order if order else 2
    if series.n_moments < shape + 6:
        return None
    linear, model = np.zeros(series.n_bands + shape), np.zeros(n)
    fit_shape(series.t, series.y, series.w, series.band, series.n_bands, order, place, linear, model)
    chi2 = float(place[3])
    if not math.isfinite(chi2) or chi2 <= 0.0 or not place[0] * series.span >= LEAST_CYCLES:
        return None
    depths, phase = np.full(2, np.nan), float(place[1])
    if order == 0:
        depths = linear[series.n_bands :].copy()
        if depths[1] > depths[0]:
            depths, phase = depths[::-1].copy(), (phase + 0.5) % 1.0
        # A brightening is no eclipse.
        if depths[0] <= 0.0 or depths[1] < -0.25 * depths[0]:
            return None
    free = 2 * order + 1 if order else 5
    moments = series.n_moments
    score = moments * math.log(chi2_constant / chi2) - free * math.log(moments)
    return Fit(float(place[0]), order, phase, float(place[2]), chi2, chi2_constant, depths, model, score)


def fit_own(series: Series, frequency: float, order: int, chi2_constant: float) -> Fit | None:
    """Fit as `fit_at`, under the amplitudes of bands and the weights of outliers that this shape asks for.

    Those that another shape asks for speak for that one. Chi square stays comparable: amplitudes of bands
    are in the model, and an outlier counts as much as the limit beyond which it is one.
    """
    fit = fit_at(series, frequency, order, chi2_constant)
    if fit is None:
        return None
    ratio = ratios_of(series, fit.model)
    mean = float(ratio[series.band].mean())
    own = series.with_ratio(ratio / mean).without_outliers(mean * fit.model)
    return fit_at(own, fit.frequency, order, chi2_constant) or fit


def ratios_of(series: Series, model: Floats, prior: float = RATIO_SIGMA**-2) -> Floats:
    """Return amplitudes of the bands under a shape; before any epoch tells, all are like the mean."""
    slope, weight = np.ones(series.n_bands), np.zeros(series.n_bands)
    for b in range(series.n_bands):
        of = series.band == b
        y, w, m = series.y[of], series.w[of], model[of]
        m = m - np.average(m, weights=w)
        weight[b] = float((w * m * m).sum())
        if weight[b] > 0.0:
            slope[b] = float((w * m * y).sum()) / weight[b]
    ratio = series.ratio * slope
    mean = float(np.average(ratio, weights=weight)) if weight.any() else 1.0
    # In units of the mean: a measured ratio of weight `known`, and 1 of weight `prior`.
    known = weight * (mean / series.ratio) ** 2
    pooled = mean * (known * ratio / mean + prior) / np.maximum(known + prior, 1e-12)
    return np.clip(pooled, LEAST_RATIO, MOST_RATIO)


def colour_of(series: Series, fit: Fit) -> tuple[float, float]:
    """Return by how much the amplitudes of the bands differ, of their mean, and the error: NaN for one band.

    Pulsation differs between bands, eclipses of stars alike in temperature do not.
    """
    if series.n_bands < 2:
        return math.nan, math.nan
    ratio, error = ratios_of(series, fit.model, prior=0.0), np.empty(series.n_bands)
    for b in range(series.n_bands):
        of = series.band == b
        w, m = series.w[of], fit.model[of] - np.average(fit.model[of], weights=series.w[of])
        error[b] = series.ratio[b] / math.sqrt(max(float((w * m * m).sum()), 1e-30))
    noise = math.sqrt(max(fit.chi2 / max(len(series.t) - series.n_bands - fit.n_free, 1), 1.0))
    return float(np.ptp(ratio)), noise * float(np.hypot(*np.sort(error)[-2:]))


def log_false_alarm(fit: Fit, n: int, trials: float) -> float:
    """Decimal logarithm of the chance that noise of unknown strength gives a fit as good at any frequency.

    The share of chi square that is left has a beta distribution at one frequency (Schwarzenberg-Czerny 1998,
    MNRAS 301, 831) of `n` moments; independent frequencies are taken to be `trials`.
    """
    free, left = fit.n_free, n - 1 - fit.n_free
    share = fit.chi2 / fit.chi2_constant
    if left <= 0 or share >= 1.0:
        return 0.0
    one = float(betainc(0.5 * left, 0.5 * free, share))
    if one > 1e-290:
        log_one = math.log10(one)
    else:  # the leading term of the integral
        log_one = (
            0.5 * left * math.log(share) - math.log(0.5 * left) - betaln(0.5 * left, 0.5 * free)
        ) / math.log(10)
    if log_one + math.log10(trials) > -6:
        return math.log10(max(-math.expm1(trials * math.log1p(-min(one, 1 - 1e-16))), 1e-300))
    return log_one + math.log10(trials)


def frequency_error(series: Series, fit: Fit) -> float:
    """Return the standard error of the frequency, per day; errors are scaled to the fit's chi square.

    From the slope of the fitted shape: a step of frequency moves an epoch by t df in phase.
    """
    order = np.argsort((fit.frequency * series.t) % 1.0)
    phase, model = ((fit.frequency * series.t) % 1.0)[order], fit.model[order]
    phase = np.concatenate([phase[-1:] - 1.0, phase, phase[:1] + 1.0])
    model = np.concatenate([model[-1:], model, model[:1]])
    slope = np.empty(len(series.t))
    gap = phase[2:] - phase[:-2]
    slope[order] = np.where(gap > 1e-4, (model[2:] - model[:-2]) / np.maximum(gap, 1e-4), 0.0)
    centre = series.t - np.average(series.t, weights=series.w * slope**2 + 1e-300)
    information = float((series.w * (slope * centre) ** 2).sum())
    freedom = max(len(series.t) - series.n_bands - fit.n_free, 1)
    return math.sqrt(max(fit.chi2 / freedom, 1.0) / information) if information > 0.0 else math.nan
