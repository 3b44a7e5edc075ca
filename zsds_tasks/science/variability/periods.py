"""Periods of variable stars from irregular epochs in one band or several.

Two scans of all frequencies, one for pulsation (a Fourier series), one for eclipses (two dips); fits of
shapes at their peaks, at the aliases, halves and doubles of the best; the best shape by Schwarz's criterion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.variability.bands import Series, join_bands
from zsds_tasks.science.variability.curves import Floats, LightCurves
from zsds_tasks.science.variability.dips import scan
from zsds_tasks.science.variability.period_choice import ALIASES, SAME, choose_double, padded, rivals
from zsds_tasks.science.variability.period_config import PeriodConfig
from zsds_tasks.science.variability.period_fits import (
    Fit,
    constant_chi2,
    fit_at,
    fit_own,
    frequency_error,
    log_false_alarm,
)
from zsds_tasks.science.variability.spectrum import harmonic_gains

SHAPE_PULSATING, SHAPE_ECLIPSING = 1, 2
SIDEREAL = 1.00273791
YEAR = 365.2422
TREND = 1.5
"""Of 1/T: a lower frequency is no rhythm but a drift, with periods as long as the time base."""
LOW_MULTIPLES = (0, 0.5, 1, 1.5, 2, 3)
Fitter = Callable[[Series, float, int, float], Fit | None]


@dataclass(frozen=True)
class Periods:
    """Periods of N objects; NaN (0 for whole numbers) where there are too few epochs.

    Parameters
    ----------
    period, period_error : (N) float64
        Days; one standard error, of the peak chosen: that it is the right peak is another question.
    shape : (N) int8
        What fits best: 1 a Fourier series, 2 eclipses.
    harmonics : (N) int8
        Of the Fourier series.
    amplitude : (N) float64
        Peak to peak, mag of the mean band.
    score, second_score, second_period : (N) float64
        Of the best fit, and of the best at another frequency that is no half or double of it: see `Fit`.
    alias_periods, alias_scores : (N, ALIASES) float64
        Other periods that the score cannot tell from the best, the likeliest first: aliases, halves, doubles.
    log_false_alarm : (N) float64
        Decimal logarithm of the chance that noise does as well.
    is_suspect : (N) bool
        A rhythm of the ground: 1 day, sidereal day, lunar month and their halves and thirds.
    nepochs : (N) int32
        Good epochs used, all bands.
    """

    period: Floats
    period_error: Floats
    shape: NDArray[np.int8]
    harmonics: NDArray[np.int8]
    amplitude: Floats
    score: Floats
    second_score: Floats
    second_period: Floats
    alias_periods: Floats
    alias_scores: Floats
    log_false_alarm: Floats
    is_suspect: NDArray[np.bool_]
    nepochs: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.period)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def find_periods(
    curves: LightCurves, bands: NDArray[np.generic], config: PeriodConfig | None = None
) -> Periods:
    """Find the period of each object.

    Parameters
    ----------
    curves : LightCurves
        N objects; an object's bands together, times best heliocentric.
    bands : (E) int
        Of each epoch, e.g. `fid`.
    config : PeriodConfig, optional

    Returns
    -------
    Periods
        One row per object, in order; it depends on the object's own good epochs alone, not on their order.
    """
    config = config or PeriodConfig()
    n = len(curves)
    columns: dict[str, NDArray[np.generic]] = {
        "shape": np.zeros(n, np.int8),
        "harmonics": np.zeros(n, np.int8),
        "is_suspect": np.zeros(n, bool),
        "nepochs": np.zeros(n, np.int32),
    }
    for name in ("alias_periods", "alias_scores"):
        columns[name] = np.full((n, ALIASES), np.nan)
    for field in fields(Periods):
        columns.setdefault(field.name, np.full(n, np.nan))
    good = curves.is_good
    for k in range(n):
        rows = np.arange(curves.offsets[k], curves.offsets[k + 1])
        rows = rows[good[rows]]
        rows = rows[np.lexsort((curves.magerr[rows], curves.mag[rows], bands[rows], curves.mjd[rows]))]
        series = join_bands(
            curves.mjd[rows],
            curves.mag[rows],
            curves.magerr[rows],
            bands[rows],
            config.least_per_band,
            config.error_floor,
        )
        columns["nepochs"][k] = len(series.t)
        if len(series.t) >= config.least_epochs and series.span > 2.0 * config.shortest_days:
            for name, value in find_period(series, config).items():
                columns[name][k] = value
    return Periods(**columns)  # type: ignore[arg-type]


def find_period(series: Series, config: PeriodConfig) -> dict[str, float | Floats]:
    """Return the columns of `Periods` of one series."""
    chi2 = constant_chi2(series)
    fits = [fit for f, order in starts(series, config) if (fit := fit_at(series, f, order, chi2))]
    if not fits or not chi2 > 0.0:
        return {}
    fits.sort(key=lambda fit: -merit(fit, series, config))
    best = compete(fits[: 2 * config.finalists], series, config, chi2, fit_at)
    if not best:
        return {}
    series = series.with_jitter(best[0].model)
    chi2 = constant_chi2(series)
    best = compete(best, series, config, chi2, fit_own) or best
    first = choose_double(best, series, config, chi2)
    second = next((fit for fit in best if not _akin(fit.frequency, first.frequency, series.span)), None)
    others = rivals(first, best, series.span, config)
    trials = max(1.0, series.span / config.shortest_days * 8.0)
    return {
        "period": 1.0 / first.frequency,
        "period_error": frequency_error(series, first) / first.frequency**2,
        "shape": SHAPE_PULSATING if first.order else SHAPE_ECLIPSING,
        "harmonics": first.order,
        "amplitude": first.amplitude,
        "score": first.score,
        "second_score": second.score if second else np.nan,
        "second_period": 1.0 / second.frequency if second else np.nan,
        "alias_periods": padded([1.0 / fit.frequency for fit in others]),
        "alias_scores": padded([fit.score for fit in others]),
        "log_false_alarm": log_false_alarm(first, series.n_moments, trials),
        "is_suspect": is_suspect(first.frequency, series.span, config),
    }


def starts(series: Series, config: PeriodConfig) -> list[tuple[float, int]]:
    """Return the peaks of both scans: frequency, and order of the shape to fit there."""
    span = series.span
    lowest = 1.0 / (config.longest_share * span)
    step = 1.0 / (config.scan_oversampling * span)
    n = int(1.0 / config.shortest_days / step)
    gains = harmonic_gains(series.t, series.y, series.w, step, n, config.scan_harmonics)
    low = max(int(lowest / step) - 1, 0)
    peaks = [low + p for p in highest(gains[low:], config.peaks, config.scan_oversampling)]
    found = [((p + 1) * step, config.scan_harmonics) for p in peaks]
    step = 1.0 / (config.dips_oversampling * span)
    n = max(int((1.0 / config.shortest_eclipsing_days - lowest) / step), 1)
    where = [np.empty(n), np.empty(n), np.empty(n)]
    scan(series.t, series.y, series.w, lowest, step, *where)
    peaks = highest(where[0], config.peaks, 0.5 * config.dips_oversampling)
    return found + [(lowest + p * step, 0) for p in peaks]


def highest(gains: Floats, count: int, apart: float) -> list[int]:
    """Return places of the highest values, no two closer than `apart`, the highest first."""
    if len(gains) < 3:
        return [int(gains.argmax())] if len(gains) else []
    inner = np.flatnonzero((gains[1:-1] >= gains[:-2]) & (gains[1:-1] > gains[2:])) + 1
    inner = inner[np.argsort(-gains[inner], kind="stable")]
    chosen: list[int] = []
    for place in inner.tolist():
        if all(abs(place - other) >= apart for other in chosen):
            chosen.append(place)
            if len(chosen) == count:
                break
    return chosen


def compete(fits: list[Fit], series: Series, config: PeriodConfig, chi2: float, fitted: Fitter) -> list[Fit]:
    """Fit all shapes at the frequencies of fits, at aliases, halves and doubles; return the best of each."""
    wanted = [fit.frequency for fit in fits]
    for f in wanted[: config.finalists]:
        wanted += [f / 2, 2 * f, f / 3, *(abs(f + d) for d in (SIDEREAL, -SIDEREAL, 1 / YEAR, -1 / YEAR))]
    wanted = distinct(wanted, series.span)
    low, high = 0.5 / (config.longest_share * series.span), 1.0 / config.shortest_days
    quick = [
        (tried.score, tried.frequency)
        for f in wanted
        if low <= f <= high
        for order in _orders(f, (config.scan_harmonics,), config)
        if (tried := fit_at(series, f, order, chi2))
    ]
    best: list[Fit] = []
    for f in distinct([f for _, f in sorted(quick, reverse=True)], series.span)[: 2 * config.finalists]:
        here = [one for k in _orders(f, config.harmonics, config) if (one := fitted(series, f, k, chi2))]
        if here:
            best.append(max(here, key=lambda fit: fit.score))
    return sorted(best, key=lambda fit: -merit(fit, series, config))


def distinct(frequencies: list[float], span: float) -> list[float]:
    """Return frequencies, the first first, without those that are no others."""
    chosen: list[float] = []
    for f in frequencies:
        if all(abs(f - known) > SAME / span for known in chosen):
            chosen.append(f)
    return chosen


def _orders(frequency: float, harmonics: tuple[int, ...], config: PeriodConfig) -> tuple[int, ...]:
    return (*harmonics, 0) if frequency * config.shortest_eclipsing_days <= 1.0 else harmonics


def merit(fit: Fit, series: Series, config: PeriodConfig) -> float:
    """Return the score of a fit, less the penalty of a rhythm of the ground."""
    return fit.score - config.alias_penalty * is_suspect(fit.frequency, series.span, config)


def is_suspect(frequency: float, span: float, config: PeriodConfig) -> bool:
    """Tell whether a frequency is that of a rhythm of the ground or a low multiple, within the resolution.

    So is one too low for the time base: it stands for any of them.
    """
    daily = tuple(range(4, int(1.0 / config.shortest_days) + 1))
    return any(
        abs(frequency - k / days) < (1.0 if k else TREND) / span
        for days in config.alias_days
        for k in LOW_MULTIPLES + (daily if days <= 1.0 else ())
    )


def _akin(a: float, b: float, span: float) -> bool:
    return any(abs(a - b * r) < 1.0 / span for r in (0.5, 1.0, 2.0))
