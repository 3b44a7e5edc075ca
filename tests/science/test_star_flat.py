"""The smooth response from stars: known maps, exposures of any zero point, outliers, holes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.calibration.starflat import StarFlatConfig, fit_star_flat
from zsds_tasks.science.calibration.starresiduals import StarResiduals

SHAPE = (301, 402)
CONFIG = StarFlatConfig(cell_px=32)


def response(x, y):
    u, v = x / SHAPE[1] - 0.5, y / SHAPE[0] - 0.5
    return 1 - 0.08 * (u + 0.3) ** 2 - 0.06 * v * v + 0.01 * np.sin(5 * u + 7 * v)


def plant(seed, count=4000, exposures=12, outliers=0.02, sigma=0.015, had=None):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1] - 1, count), rng.uniform(0, SHAPE[0] - 1, count)
    exposure = rng.integers(0, exposures, count)
    error = rng.uniform(0.5, 1.5, count) * sigma
    residual = 2.5 * np.log10(response(x, y)) + rng.normal(0, 0.05, exposures)[exposure]
    residual += error * rng.normal(size=count) + 0.008 * rng.normal(size=count)
    lost = rng.random(count) < outliers
    residual[lost] += rng.normal(0, 0.5, lost.sum())
    found = residual if had is None else residual - 2.5 * np.log10(had(x, y))
    return StarResiduals(x, y, residual, error, exposure, found)


def departure(flat):
    """Scatter of the map over the truth, mmag."""
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    ratio = 2.5 * np.log10(flat.response.values.expand() / response(x, y))
    return 1000 * ratio.std()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_known_response_is_found_to_its_error(seed):
    flat = fit_star_flat(plant(seed), SHAPE, CONFIG)
    assert departure(flat) < 3
    y, x = (np.minimum(c, n - 1) for c, n in zip(np.mgrid[0:10, 0:13] * 32 + 15.5, SHAPE, strict=True))
    true = response(x, y)
    pull = (flat.response.values.values / (true / true.mean()) - 1) / flat.response.error.values
    assert 0.4 < pull.std() < 1.6
    assert flat.response.values.values.mean() == pytest.approx(1, abs=1e-6)
    assert flat.faults == ()
    assert flat.rms_before > 0.008
    assert flat.rms_after < 0.25 * flat.rms_before
    assert flat.rms_noise < 0.003
    assert 40 < flat.n_clipped < 300
    assert flat.n_exposures == 12
    assert flat.scatter == pytest.approx(0.017, rel=0.2)


def test_more_stars_give_a_better_map():
    few, many = (departure(fit_star_flat(plant(4, count=n), SHAPE, CONFIG)) for n in (500, 20000))
    assert many < 0.6 * few
    assert few < 6


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_zero_points_of_exposures_do_not_matter(seed):
    stars = plant(5, count=1500, outliers=0)
    shift = np.random.default_rng(seed).normal(0, 0.3, 12)[stars.exposure]
    moved = dataclasses.replace(stars, residual=stars.residual + shift, as_found=stars.as_found + shift)
    one, two = (fit_star_flat(s, SHAPE, CONFIG) for s in (stars, moved))
    np.testing.assert_allclose(one.response.values.values, two.response.values.values, atol=2e-5)
    assert one.rms_before == pytest.approx(two.rms_before, rel=1e-6)


def test_the_effect_is_measured_on_what_the_images_had():
    had = plant(6, had=response)
    flat = fit_star_flat(had, SHAPE, CONFIG)
    assert departure(flat) < 3  # the total, not what was left
    assert flat.rms_before < 0.003


def test_a_flat_response_is_left_flat():
    stars = plant(7)
    none = stars.residual - 2.5 * np.log10(response(stars.x, stars.y))
    flat = fit_star_flat(dataclasses.replace(stars, residual=none, as_found=none), SHAPE, CONFIG)
    assert np.std(flat.response.values.values) < 0.003


def test_a_hole_makes_a_fault_and_few_stars_none_at_all():
    stars = plant(8)
    hole = fit_star_flat(stars.take((stars.x > 110) | (stars.y > 90)), SHAPE, CONFIG)
    assert hole.faults == ("0 stars in a part of the channel, 3 are needed",)
    with pytest.raises(UnusableInputError, match="150 measurements of stars, 200 are needed"):
        fit_star_flat(stars.take(np.arange(150)), SHAPE, CONFIG)
    with pytest.raises(UnusableInputError, match="0 measurements"):
        fit_star_flat(StarResiduals.concatenate([]), SHAPE, CONFIG)


def test_one_exposure_has_no_other_half_to_be_measured_on():
    flat = fit_star_flat(plant(9, exposures=1), SHAPE, CONFIG)
    assert np.isnan(flat.rms_after)
    assert flat.faults == ("1 exposures, 4 are needed",)
    assert departure(flat) < 3


def test_stars_without_a_number_are_left_out():
    stars = plant(10)
    stars.residual[:100] = np.nan
    flat = fit_star_flat(stars, SHAPE, CONFIG)
    assert departure(flat) < 3
    assert flat.n_stars <= 3900
