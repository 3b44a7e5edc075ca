"""Which fit is taken: noise and amplitudes of bands as each shape asks for, aliases that are told."""

from __future__ import annotations

import numpy as np
import pytest
from variable_curves import variables

from zsds_tasks.science.variability.bands import Series, join_bands
from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.science.variability.period_choice import ALIASES
from zsds_tasks.science.variability.period_config import PeriodConfig
from zsds_tasks.science.variability.period_fits import constant_chi2, fit_at, fit_own, ratios_of
from zsds_tasks.science.variability.periods import find_periods

CONFIG = PeriodConfig()


def wave(seed, t, period, ratios, amplitude=0.2, sigma=0.01, scatter=0.0):
    """Return a sine wave in some bands, their amplitudes in `ratios`, with scatter beyond the errors."""
    random = np.random.default_rng(seed)
    band = np.arange(len(t)) % len(ratios)
    change = amplitude * np.sin(2 * np.pi * t / period) * np.array(ratios)[band]
    noise = np.hypot(sigma, scatter) * random.normal(size=len(t))
    return band, 17.0 + 0.3 * band + change + noise, np.full(len(t), sigma)


def curve(t, mag, error):
    return LightCurves(t, mag, error, np.zeros(len(t), np.uint16), np.array([0, len(t)]))


def joined(t, band, mag, error):
    return join_bands(t, mag, error, band, CONFIG.least_per_band, 0.0)


def nights(seed, n, hours, span=700):
    """Return epochs of n nights, within some hours of one time of day."""
    random = np.random.default_rng(seed)
    return 58000.0 + np.sort(random.choice(span, n, replace=False)) + random.uniform(0, hours / 24, n)


@pytest.mark.parametrize(("scatter", "expected"), [(0.0, 0.01), (0.05, 0.051)])
def test_scatter_beyond_the_errors_is_added_to_them_and_outliers_are_not(scatter, expected):
    t = nights(1, 400, 8)
    band, mag, error = wave(2, t, 0.3141, [1.0, 1.0], scatter=scatter)
    mag[::20] += 1.0
    series = Series(t, mag - 0.3 * band, error**-2, band, np.ones(2))
    noisy = series.with_jitter(0.2 * np.sin(2 * np.pi * t / 0.3141))
    assert np.median(noisy.w**-0.5) == pytest.approx(expected, rel=0.25)
    assert (noisy.w <= series.w).all()


def test_a_fit_finds_the_amplitudes_of_the_bands_where_epochs_tell():
    t = nights(3, 120, 8)
    series = joined(t, *wave(4, t, 0.3141, [1.0, 0.6]))
    fit = fit_at(series, 1 / 0.3141, 1, constant_chi2(series))
    ratio = ratios_of(series, fit.model)
    assert ratio[1] / ratio[0] == pytest.approx(0.6, abs=0.02)
    assert ratios_of(series, np.zeros(len(t))) == pytest.approx([1.0, 1.0])


def test_no_shape_suffers_from_the_amplitudes_that_another_asks_for():
    """An eclipse of which one band saw little: its amplitude is not that of the scatter of the bands."""
    t = nights(5, 150, 8)
    phase = (t / 2.718) % 1.0
    band = ((np.abs(phase - 0.5) > 0.03) & (np.arange(len(t)) % 2 == 1)).astype(np.int64)
    dip = 0.6 * np.exp(-0.5 * ((phase - 0.5) / 0.02) ** 2)
    mag = 17.0 + dip + 0.02 * np.random.default_rng(6).normal(size=len(t))
    series = joined(t, band, mag, np.full(len(t), 0.02))
    chi2 = constant_chi2(series)
    common, own = fit_at(series, 1 / 2.718, 0, chi2), fit_own(series, 1 / 2.718, 0, chi2)
    assert own.chi2 < common.chi2
    assert own.amplitude == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("ratios", [[1.27, 1.2, 0.95, 0.8, 0.73], [1.0, 0.65]])
def test_a_wave_that_differs_between_bands_is_no_pair_of_eclipses(ratios):
    t = np.repeat(nights(7, 90, 9, span=2500), len(ratios)) + np.tile(np.arange(len(ratios)) / 1400, 90)
    band, mag, error = wave(8, t, 0.3786, ratios, scatter=0.04)
    found = find_periods(curve(t, mag, error), band)
    assert found.period[0] == pytest.approx(0.3786, rel=1e-4)
    assert found.shape[0] == 1


def test_an_alias_of_the_day_is_told_where_epochs_cannot_exclude_it():
    """Epochs at about one time of day: frequencies a day apart fit nearly alike."""
    t = nights(9, 60, 2)
    band, mag, error = wave(10, t, 0.3786, [1.0, 0.7], sigma=0.06)
    found = find_periods(curve(t, mag, error), band)
    told = 1.0 / np.append(found.period, found.alias_periods[0])
    assert np.nanmin(np.abs(told - 1 / 0.3786)) < 1e-3
    assert np.nanmin(np.abs(np.abs(told - 1 / 0.3786) - 1.0)) < 1e-3


def test_aliases_are_others_in_order_of_score_and_not_surely_worse():
    sample = variables(58, 6, epochs=(60, 90))
    found = find_periods(sample.curves, sample.bands)
    assert found.alias_periods.shape == (6, ALIASES)
    for k in range(6):
        count = int(np.isfinite(found.alias_periods[k]).sum())
        periods, scores = found.alias_periods[k, :count], found.alias_scores[k, :count]
        assert np.isfinite(scores).all()
        assert np.isnan(found.alias_scores[k, count:]).all()
        assert (np.diff(scores) <= 0).all()
        assert (scores > found.score[k] - CONFIG.alias_margin).all()
        assert len(np.unique(np.append(periods, found.period[k]))) == count + 1


def test_moments_are_told_from_epochs():
    t = np.repeat(np.arange(10.0), 3) + np.tile([0.0, 0.001, 0.002], 10)
    ones = np.ones(30)
    series = Series(t, ones, ones, np.zeros(30, np.int64), np.ones(1))
    assert series.n_moments == 10


@pytest.mark.parametrize("seed", range(12))
def test_a_slow_change_in_two_nights_has_no_period_below_zero_or_far_beyond_them(seed):
    random = np.random.default_rng([17, seed])
    t = np.sort(np.concatenate([night + random.uniform(0.1, 0.35, 24) for night in (0.0, 1.0)]))
    band = np.arange(len(t)) % 2
    mag = 17.0 + random.normal(0, 0.3) * t + random.normal(0, 0.2) * t**2 + 0.01 * random.normal(size=len(t))
    found = find_periods(curve(t, mag, np.full(len(t), 0.01)), band)
    assert np.isnan(found.period[0]) or 0.0 < found.period[0] <= 2.0 * np.ptp(t)
    others = found.alias_periods[np.isfinite(found.alias_periods)]
    assert ((others > 0.0) & (others <= 2.0 * np.ptp(t))).all()
