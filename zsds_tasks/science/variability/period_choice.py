"""Which of the fits of a light curve is taken: period, half or double, eclipses or pulsation."""

from __future__ import annotations

import numpy as np

from zsds_tasks.science.variability.bands import Series
from zsds_tasks.science.variability.curves import Floats
from zsds_tasks.science.variability.period_config import PeriodConfig
from zsds_tasks.science.variability.period_fits import Fit, colour_of, fit_own

ALIASES = 5
"""Other periods that are told at most."""
SAME = 0.02
"""Of 1/T: frequencies closer are one."""


def choose_double(best: list[Fit], series: Series, config: PeriodConfig, chi2: float) -> Fit:
    """Return the best fit, or that of half or twice its period where both are about as good.

    Of Fourier series the shorter period, unless all bands vary alike: a binary, whose two minima are alike.

    One dip in a period is either a binary whose second eclipse is too shallow to be seen, or two alike of a
    binary of twice the period. Stars that do not touch eclipse for a limited share of a period.
    """
    first = best[0]
    dips = fit_own(series, first.frequency, 0, chi2) if first.order else first
    waves = first if first.order else best_series(first.frequency, series, config, chi2)
    if dips is None or (waves and not is_eclipse(dips, waves, series, config)):
        return choose_series(waves or first, series, config, chi2)
    first = dips
    for factor in (2.0, 0.5):
        frequency = first.frequency * factor
        other = (
            fit_own(series, frequency, 0, chi2) if frequency * config.shortest_eclipsing_days <= 1.0 else None
        )
        if other is None or other.score < first.score - config.double_margin:
            continue
        lone, alike = (other, first) if factor > 1.0 else (first, other)
        expected = config.double_margin * (1.0 - lone.width / config.even_dip)
        return alike if alike.score - lone.score > expected else lone
    return first


def choose_series(first: Fit, series: Series, config: PeriodConfig, chi2: float) -> Fit:
    """Return the Fourier series of the likelier among its period, part and double: `choose_double`."""
    chosen = first
    for part in (3.0, 2.0):
        frequency = part * first.frequency
        if frequency * config.shortest_days <= 1.0:
            other = best_series(frequency, series, config, chi2)
            if other and other.score > (1.0 - config.series_margin) * first.score:
                chosen = other
                break
    colour, error = colour_of(series, chosen)
    is_binary = 1.0 / chosen.frequency < config.contact_days and colour + error < config.achromatic
    double = best_series(0.5 * chosen.frequency, series, config, chi2) if is_binary else None
    return double or chosen


def best_series(frequency: float, series: Series, config: PeriodConfig, chi2: float) -> Fit | None:
    """Return the best Fourier series at a frequency."""
    fits = (fit_own(series, frequency, order, chi2) for order in config.harmonics)
    return max((fit for fit in fits if fit), key=lambda fit: fit.score, default=None)


def is_eclipse(dips: Fit, waves: Fit, series: Series, config: PeriodConfig) -> bool:
    """Tell eclipses from a Fourier series at one frequency.

    Many harmonics fit all, so dips that score nearly as well are eclipses; but not wide ones of which the
    bands surely differ: two of them are a wave.
    """
    if dips.score < config.eclipse_share * waves.score:
        return False
    colour, error = colour_of(series, dips)
    is_wave = dips.width > config.wide_dip and waves.score >= config.eclipse_share * dips.score
    return not (is_wave and colour - error > config.chromatic)


def rivals(first: Fit, best: list[Fit], span: float, config: PeriodConfig) -> list[Fit]:
    """Return the fits at other frequencies that are not surely worse, the best first."""
    found: list[Fit] = []
    for fit in sorted(best, key=lambda fit: -fit.score):
        apart = all(abs(fit.frequency - other.frequency) > SAME / span for other in (first, *found))
        if apart and fit.score > first.score - config.alias_margin:
            found.append(fit)
    return found[:ALIASES]


def padded(values: list[float]) -> Floats:
    """Return values as a row of `ALIASES`, the rest NaN."""
    return np.array(values + [np.nan] * (ALIASES - len(values)))
