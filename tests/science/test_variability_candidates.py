"""Candidate variables stand out of the locus of their unit."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from zsds_tasks.science.variability.candidates import CandidateConfig, find_candidates
from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.science.variability.statistics import measure_statistics


def unit(seed: int, amplitude: float, stars: int = 600, n: int = 40, period: float = 30.0):
    """Make stars of 15 to 20 mag; every twentieth varies, errors are 30 % too small for the bright."""
    random = np.random.default_rng(seed)
    mag = random.uniform(15.0, 20.0, stars)
    error = np.repeat(0.015 + 0.05 * 10 ** (0.4 * (mag - 19.5)), n)
    t = np.sort(random.uniform(58000, 58700, (stars, n)), axis=1).ravel()
    wrong = np.repeat(np.where(mag < 17, 1.3, 1.0), n)
    change = amplitude * np.sin(2 * np.pi * t / period) * np.repeat(np.arange(stars) % 20 == 0, n)
    m = np.repeat(mag, n) + change * 5 * error + wrong * error * random.normal(size=stars * n)
    return LightCurves(t, m, error, np.zeros(stars * n, np.uint16), np.arange(stars + 1) * n)


def test_variables_are_candidates_and_constant_stars_are_none():
    for seed in (41, 42):
        found = find_candidates(measure_statistics(unit(seed, 1.0)))
        varies = np.arange(600) % 20 == 0
        assert found.is_candidate[varies].mean() > 0.95
        assert found.is_candidate[~varies].mean() < 0.005


def test_the_locus_takes_up_errors_that_are_too_small():
    statistics = measure_statistics(unit(43, 0.0))
    found = find_candidates(statistics)
    bright = statistics.medianmag < 16.5
    assert abs(np.median(found.locus_chisq[bright]) - 1.69) < 0.15
    assert abs(np.median(found.locus_chisq[statistics.medianmag > 18]) - 1.0) < 0.1
    assert not found.is_candidate.any()


def test_smooth_change_raises_the_score():
    curves = unit(44, 0.5, period=300.0)
    mixed = np.random.default_rng(1).permuted(curves.mag.reshape(600, 40), axis=1).ravel()
    shuffled = LightCurves(curves.mjd, mixed, curves.magerr, curves.flags, curves.offsets)
    varies = np.arange(600) % 20 == 0
    smooth = find_candidates(measure_statistics(curves)).score[varies]
    rough = find_candidates(measure_statistics(shuffled)).score[varies]
    assert np.median(smooth) > np.median(rough) + 1


def test_too_few_epochs_or_objects_are_not_judged():
    few = find_candidates(measure_statistics(unit(45, 1.0, n=5)))
    assert np.isnan(few.score).all()
    assert not few.is_candidate.any()
    lonely = find_candidates(measure_statistics(unit(46, 1.0, stars=10)))
    assert np.isnan(lonely.score).all()
    none = find_candidates(measure_statistics(unit(47, 1.0, stars=0)))
    assert len(none) == 0


def test_the_order_of_objects_does_not_matter():
    curves = unit(48, 1.0, stars=120, n=20)
    order = np.random.default_rng(2).permutation(120)
    rows = (order[:, None] * 20 + np.arange(20)).ravel()
    other = LightCurves(
        curves.mjd[rows], curves.mag[rows], curves.magerr[rows], curves.flags[rows], curves.offsets
    )
    config = CandidateConfig(objects_per_bin=30)
    one = find_candidates(measure_statistics(curves), config)
    two = find_candidates(measure_statistics(other), config)
    assert np.array_equal(one.score[order], two.score)


def test_real_light_curves_have_few_candidates_and_they_stand_out(real_data):
    table = pq.read_table(real_data / "lightcurves" / "ztf_dr5_000250_zg_c01_q1_part.parquet")
    columns = [
        table[name].combine_chunks().flatten().to_numpy() for name in ("hmjd", "mag", "magerr", "catflags")
    ]
    curves = LightCurves(*columns, np.concatenate([[0], np.cumsum(table["nepochs"].to_numpy())]))
    statistics = measure_statistics(curves)
    found = find_candidates(statistics)
    assert np.isfinite(found.score).sum() == 1063
    assert found.is_candidate.sum() == 15
    assert (statistics.chisq / found.locus_chisq > 25)[found.is_candidate].sum() == 7
    assert abs(np.nanmedian(found.chisq_sigma)) < 0.1
    assert abs(np.nanmedian(found.smooth_sigma)) < 0.5
