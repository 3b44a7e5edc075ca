"""Aperture corrections come from stars where there are enough, from the PSF where not, and mean the same."""

import numpy as np
import pytest
from aperture_builders import RoundPsf

from zsds_tasks.science.photometry.growth import GrowthConfig, growth_curve, growth_of_psf

RADII = np.array([1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0])
SHAPE = (300, 400)
PSF = RoundPsf(0.9)
CONFIG = GrowthConfig()


def shares():
    """Of a round Gaussian whose samples fill their pixels."""
    return 1 - np.exp(-0.5 * RADII**2 / (PSF.sigma**2 + 1 / 12))


def stars(rng, n, share, noise=30.0):
    light = rng.uniform(20000, 200000, n)[:, None] * share
    error = np.sqrt(noise**2 * RADII**2 / 10 + light / 6)
    return light + error * rng.standard_normal(light.shape), error


def places(rng, n):
    return rng.uniform(0, SHAPE[1], n), rng.uniform(0, SHAPE[0], n)


def test_the_psf_alone_gives_its_own_shares():
    mean, scatter = growth_of_psf(PSF, SHAPE, RADII)
    np.testing.assert_allclose(mean, shares(), rtol=0.02)
    np.testing.assert_allclose(mean[3:], shares()[3:], rtol=2e-3)
    assert scatter.max() < 1e-12  # the same everywhere


def test_few_stars_leave_it_to_the_psf():
    rng = np.random.default_rng(1)
    share, _ = growth_of_psf(PSF, SHAPE, RADII)
    light, error = stars(rng, 14, share)
    curve = growth_curve(light, error, places(rng, 14), (share, 0.01 * share), SHAPE, CONFIG)
    assert curve.n_stars == 0
    np.testing.assert_allclose(curve.correction, 2.5 * np.log10(share[:-1]))
    np.testing.assert_allclose(curve.error, 2.5 / np.log(10) * 0.01)
    assert np.isnan(curve.scatter).all()
    nothing = growth_curve(np.empty((0, 7)), np.empty((0, 7)), places(rng, 0), (share, share), SHAPE, CONFIG)
    np.testing.assert_allclose(nothing.correction, curve.correction)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_stars_overrule_a_wrong_psf_and_outliers_do_not_count(seed):
    rng = np.random.default_rng(seed)
    truth = shares()
    light, error = stars(rng, 120, truth)
    light[::10, 3:] *= 1.3  # company
    wrong = truth * np.array([0.9, 0.93, 0.95, 0.97, 0.99, 1, 1])
    x, y = places(rng, 120)
    curve = growth_curve(light, error, (x, y), (wrong, 0 * wrong), SHAPE, CONFIG)
    assert 60 < curve.n_stars <= 110
    expected = 2.5 * np.log10(truth[:-1])
    off = np.abs(curve.correction - expected)
    assert np.all(off < 4 * curve.error + 1e-4)
    assert curve.error.max() < 0.003
    np.testing.assert_allclose(curve.psf_difference, 2.5 * np.log10(truth / wrong)[:-1], atol=0.01)
    assert curve.span.max() < 0.012


def test_a_correction_that_varies_over_the_image_is_noticed():
    rng = np.random.default_rng(5)
    x, y = places(rng, 300)
    share = shares()
    light, error = stars(rng, 300, share)
    light[:, 0] *= 1 + 0.1 * (x / SHAPE[1] - 0.5)
    curve = growth_curve(light, error, (x, y), (share, 0 * share), SHAPE, GrowthConfig(clip_mads=10.0))
    # Middles of the outer thirds are two thirds of the image apart: 0.067, as magnitudes 0.072.
    assert 0.05 < curve.span[0] < 0.09
    assert curve.span[3:].max() < 0.01


def test_corrections_only_add_light():
    rng = np.random.default_rng(6)
    share, spread = growth_of_psf(PSF, SHAPE, RADII)
    light, error = stars(rng, 60, share)
    curve = growth_curve(light, error, places(rng, 60), (share, spread), SHAPE, CONFIG)
    assert np.all(np.diff(curve.correction) > 0)
    assert np.all(curve.correction < 2e-3)
