"""Periods: scans against slow numpy, known periods recovered, noise has none, real RR Lyrae of Stripe 82."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from variable_curves import stripe_82, variables

from zsds_tasks.science.variability.bands import join_bands
from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.science.variability.dips import BINS, LEAST, WIDTHS, scan
from zsds_tasks.science.variability.period_config import PeriodConfig
from zsds_tasks.science.variability.periods import find_periods, is_suspect
from zsds_tasks.science.variability.shapes import fit_shape
from zsds_tasks.science.variability.spectrum import harmonic_gains


def epochs(seed, n=60, span=300.0):
    random = np.random.default_rng(seed)
    t = np.sort(random.uniform(-span / 2, span / 2, n))
    return t, random.normal(size=n), random.uniform(20, 100, n)


@pytest.mark.parametrize("order", [1, 3])
def test_the_harmonic_scan_is_weighted_least_squares(order):
    t, y, w = epochs(1)
    step, n = 1 / (8 * 300), 5000
    gains = harmonic_gains(t, y, w, step, n, order)
    mean = np.average(y, weights=w)
    for k in [*range(40, n, 511), n - 1]:
        angle = 2 * np.pi * (k + 1) * step * t
        rows = [np.ones_like(t), *(f(h * angle) for h in range(1, order + 1) for f in (np.cos, np.sin))]
        left = np.linalg.lstsq(np.array(rows).T * np.sqrt(w)[:, None], y * np.sqrt(w))[1][0]
        assert gains[k] == pytest.approx(np.sum(w * (y - mean) ** 2) - left, rel=1e-3, abs=0.02)


def test_the_scan_for_dips_is_the_best_pair_of_boxes():
    t, y, w = epochs(2, n=40)
    n, first, step = 6, 0.7, 0.113
    gains, phases, widths = np.empty(n), np.empty(n), np.empty(n)
    scan(t, y, w, first, step, gains, phases, widths)

    def left(of):
        return np.sum(w[of] * (y[of] - np.average(y[of], weights=w[of])) ** 2) if of.any() else 0.0

    for k in range(n):
        cell = np.floor(((first + k * step) * t) % 1.0 * BINS).astype(int)
        best = 0.0
        for width in WIDTHS:
            for start in range(BINS):
                one, two = (cell - start) % BINS < width, (cell - start - BINS // 2) % BINS < width
                rest = ~one & ~two
                if not one.any() or w[one | two].sum() < LEAST * np.median(w):
                    continue
                means = [np.average(y[of], weights=w[of]) if of.any() else -np.inf for of in (one, two, rest)]
                if means[0] <= means[2] or means[1] > means[0]:
                    continue
                parts = (one, two, rest) if means[1] > means[2] else (one, two | rest)
                best = max(best, left(np.ones_like(one)) - sum(left(of) for of in parts))
        assert gains[k] == pytest.approx(best, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("order", [0, 3])
def test_a_fit_finds_the_shape_it_was_given(order):
    t, _, w = epochs(3, n=120)
    turn = (1.2345 * t) % 1.0
    if order:
        y = 0.3 * np.sin(2 * np.pi * turn) + 0.1 * np.cos(6 * np.pi * turn)
    else:
        distance = [(turn - at + 0.5) % 1.0 - 0.5 for at in (0.3, 0.8)]
        y = 0.5 * np.exp(-0.5 * (distance[0] / 0.03) ** 2) + 0.2 * np.exp(-0.5 * (distance[1] / 0.03) ** 2)
    band = (np.arange(120) % 2).astype(np.int64)
    place = np.array([1.2345 + 0.05 / 300, 0.31, 0.04, 0.0])
    linear, model = np.empty(2 + max(2, 2 * order)), np.empty(120)
    fit_shape(t, y + 5.0 * band, w, band, 2, order, place, linear, model)
    assert place[0] == pytest.approx(1.2345, rel=1e-7)
    assert linear[1] - linear[0] == pytest.approx(5.0, abs=1e-4)
    assert np.ptp(model - y) < 1e-3


def test_periods_of_simulated_binaries_and_rr_lyrae():
    sample = variables(52, 10, epochs=(120, 200))
    found = find_periods(sample.curves, sample.bands)
    right = np.abs(found.period / sample.period - 1) < 1e-3
    assert right.mean() >= 0.9
    assert (found.log_false_alarm[right] < -6).all()
    eclipsing = sample.kind == "eclipsing"
    assert (found.shape[right & eclipsing] == 2).mean() > 0.9
    assert (found.shape[right & ~eclipsing] == 1).all()
    pull = (found.period - sample.period)[right] / found.period_error[right]
    assert 0.4 < np.sqrt(np.median(pull**2)) / 0.6745 < 2.0


def test_noise_has_no_period():
    sample = variables(53, 5, epochs=(60, 80))
    random = np.random.default_rng(1)
    curves = sample.curves
    noise = dataclasses.replace(curves, mag=17 + curves.magerr * random.normal(size=len(curves.mjd)))
    found = find_periods(noise, sample.bands)
    assert (found.log_false_alarm < -2).sum() <= 1


def test_the_result_does_not_depend_on_order_or_neighbours():
    sample = variables(54, 2, epochs=(60, 62))
    whole = find_periods(sample.curves, sample.bands)
    rows = np.random.default_rng(2).permutation(np.arange(*sample.curves.offsets[1:3]))
    c = sample.curves
    alone = LightCurves(c.mjd[rows], c.mag[rows], c.magerr[rows], c.flags[rows], np.array([0, len(rows)]))
    one = find_periods(alone, sample.bands[rows])
    for name, values in one.columns().items():
        assert np.array_equal(values[:1], whole.columns()[name][1:], equal_nan=True), name


def test_too_few_epochs_have_no_period():
    sample = variables(55, 1, epochs=(60, 60))
    c = sample.curves
    few = LightCurves(c.mjd[:20], c.mag[:20], c.magerr[:20], c.flags[:20], np.array([0, 0, 20]))
    found = find_periods(few, sample.bands[:20])
    assert np.isnan(found.period).all()
    assert found.nepochs.tolist() == [0, 20]
    same = dataclasses.replace(c, mag=np.full(len(c.mjd), 17.0))
    assert np.isnan(find_periods(same, sample.bands).period[0])


def test_bands_are_brought_to_one_level_and_amplitude():
    sample = variables(56, 1, epochs=(300, 300), kinds=(2,))
    c = sample.curves
    series = join_bands(c.mjd, c.mag, c.magerr, sample.bands, 8, 0.0)
    assert series.n_bands == 2
    assert series.ratio[1] / series.ratio[0] == pytest.approx(0.72, abs=0.1)
    assert abs(np.median(series.y[series.band == 0]) - np.median(series.y[series.band == 1])) < 1e-12


def test_real_rr_lyrae_of_stripe_82(real_data):
    sample = stripe_82(real_data, 75)
    config = PeriodConfig(shortest_days=0.2, shortest_eclipsing_days=0.4)
    found = find_periods(sample.curves, sample.bands, config)
    assert (np.abs(found.period / sample.period - 1) < 1e-3).mean() >= 0.8


@pytest.mark.parametrize(("ratio", "factor"), [(1.0, 2.0), (0.72, 1.0)])
def test_a_sine_wave_alike_in_all_bands_is_half_a_binary(ratio, factor):
    sample = variables(57, 1, epochs=(200, 200))
    c = sample.curves
    change = 0.3 * np.sin(2 * np.pi * c.mjd / 0.1781) * np.where(sample.bands == 1, 1.0, ratio)
    noise = 0.02 * np.random.default_rng(3).normal(size=len(c.mjd))
    star = dataclasses.replace(c, mag=17 + change + noise, magerr=np.full(len(c.mjd), 0.02))
    found = find_periods(star, sample.bands)
    assert found.period[0] == pytest.approx(factor * 0.1781, rel=1e-5)


def test_rhythms_of_the_ground_are_suspect():
    config = PeriodConfig()
    for period in (1.0, 0.5, 2.0, 2 / 3, 0.25, 0.99727, 29.53, 14.765, 800.0):
        assert is_suspect(1.0 / period, 500.0, config), period
    for period in (0.51, 0.97, 1.03, 13.0, 200.0):
        assert not is_suspect(1.0 / period, 500.0, config), period
