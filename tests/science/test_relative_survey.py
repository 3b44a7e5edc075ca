"""Overlapping images bring a survey to one scale, and say how well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from relative_builders import make_survey, uniformity
from scipy import sparse

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.relative.config import SurveyConfig
from zsds_tasks.science.relative.survey import (
    SurveyImages,
    SurveyObservations,
    build_problem,
    calibrate_survey,
    sample_errors,
)
from zsds_tasks.science.relative.survey_solver import solve

CONFIG = SurveyConfig()
FREE = SurveyConfig(image_sigma_mag=None)
NOTHING = SurveyImages()
MMAG = 1e-3


def dense_answer(problem, weight):
    """Offsets of images and cells by the plain equations of stars, images and cells."""
    n, stars = len(problem.image), len(problem.starts) - 1
    star = np.repeat(np.arange(stars), np.diff(problem.starts))
    levels = np.zeros((n, problem.n_images + problem.n_cells))
    levels[np.arange(n), problem.image] = 1.0
    if problem.n_cells:
        levels[np.arange(n), problem.n_images + problem.cell] += 1.0
    to_levels = sparse.block_diag([problem.to_images, sparse.identity(problem.n_cells)]).toarray()
    design = np.hstack([levels @ to_levels, np.eye(stars)[star]])
    k = to_levels.shape[1]
    normal = design.T @ (weight[:, None] * design)
    normal[np.arange(k), np.arange(k)] += problem.precision
    return np.linalg.lstsq(normal, design.T @ (weight * problem.mag), rcond=None)[0][:k]


@pytest.mark.parametrize("cells", [0, 2])
@pytest.mark.parametrize("nights", [False, True])
def test_the_answer_is_that_of_the_whole_equations(cells, nights):
    observations, truth = make_survey(
        31, fields=2, quadrants=1, density=40, visits=3, dither=0.1, cells=cells
    )
    images = SurveyImages(truth.night, truth.airmass, truth.field) if nights else NOTHING
    problem = build_problem(observations, images, CONFIG)
    found = solve(problem, problem.weight, replace_tolerance(1e-12)).parameters
    np.testing.assert_allclose(found, dense_answer(problem, problem.weight), atol=1e-8)


def replace_tolerance(value):
    return CONFIG.model_copy(update={"tolerance": value})


@pytest.mark.parametrize("seed", [41, 42])
def test_images_come_to_one_scale(seed):
    observations, truth = make_survey(seed, second_grid=True, dither=0.1, visits=6)
    found = calibrate_survey(observations, NOTHING, CONFIG)
    before, _, images, fields = uniformity(found, truth)
    assert before > 18 * MMAG
    assert images < 2.3 * MMAG
    assert fields < 1.2 * MMAG
    assert found.residual < 1e-6


def field_error(changes):
    """RMS error of fields whose catalogue is off by 20 mmag each."""
    errors = []
    for seed in (51, 52):
        observations, truth = make_survey(seed, field_sigma=0.02, **changes)
        found = calibrate_survey(observations, SurveyImages(zone=truth.field), CONFIG)
        errors.append(uniformity(found, truth)[3])
    return np.mean(errors)


def test_more_overlap_is_more_uniform():
    apart, edges, both = map(
        field_error, ({"step": 1.0}, {"step": 0.95, "dither": 0.1}, {"second_grid": True, "dither": 0.1})
    )
    assert apart > 12 * MMAG  # no overlap: every field keeps the catalogue's zonal error
    assert edges < 0.3 * apart
    assert both < 0.9 * edges


def test_a_constant_added_to_an_image_goes_into_its_offset():
    observations, _ = make_survey(61, fields=2, second_grid=True, dither=0.1)
    shifted = replace(observations, mag=observations.mag + np.where(observations.image == 5, 0.4, 0.0))
    one, two = (calibrate_survey(o, NOTHING, FREE) for o in (observations, shifted))
    change = two.offset - one.offset
    change[5] += 0.4
    assert one.component.max() == 0
    # Without priors the mean of all offsets is zero, so all move by the same.
    np.testing.assert_allclose(change, 0.4 / len(change), atol=2e-4)


def test_the_order_of_observations_changes_no_bit():
    observations, truth = make_survey(62, fields=2, cells=2, dither=0.1)
    order = np.random.default_rng(0).permutation(len(observations.star))
    mixed = replace(observations, **{
        name: getattr(observations, name)[order] for name in ("star", "image", "mag", "error", "cell")
    })  # fmt: skip
    images = SurveyImages(truth.night, truth.airmass)
    one, two = (calibrate_survey(o, images, CONFIG) for o in (observations, mixed))
    for name in ("offset", "flat", "night_extinction", "star_mag", "star_chi"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)


def test_errors_are_as_wide_as_claimed():
    # Images and zones are as much off as is expected: only then can the claim be right.
    pulls, calm = [], {"zero_sigma": 0.03, "field_sigma": 0.02, "variables": 0, "outliers": 0}
    for seed in range(71, 77):
        observations, truth = make_survey(
            seed, fields=3, visits=3, quadrants=1, dither=0.1, density=100, **calm
        )
        images = SurveyImages(zone=truth.field)
        found = calibrate_survey(observations, images, CONFIG)
        claimed = sample_errors(observations, images, CONFIG, np.random.default_rng(seed), draws=16)
        pulls.append((found.offset + truth.zero) / claimed)
    assert 0.8 < np.sqrt(np.mean(np.concatenate(pulls) ** 2)) < 1.25


def test_images_apart_keep_their_own_zero():
    observations, truth = make_survey(74, step=1.0, fields=2, quadrants=1, visits=5)
    free, tied = (calibrate_survey(observations, NOTHING, config) for config in (FREE, CONFIG))
    assert free.component.max() == 3
    assert np.array_equal(free.component, tied.component)
    sums = np.bincount(free.component, free.offset)
    np.testing.assert_allclose(sums, 0.0, atol=1e-9)
    assert [len(set(free.component[truth.field == f])) for f in range(4)] == [1] * 4


def test_extinction_of_nights_is_found():
    observations, truth = make_survey(
        75, fields=5, second_grid=True, dither=0.1, extinction_sigma=0.1, zero_sigma=0.005, density=100
    )
    config = SurveyConfig(image_sigma_mag=0.005, extinction_sigma_mag=0.1)
    found = calibrate_survey(observations, SurveyImages(truth.night, truth.airmass), config)
    slopes = [
        np.polyfit(truth.airmass[truth.night == n], truth.zero[truth.night == n], 1)[0] for n in range(4)
    ]
    np.testing.assert_allclose(-found.night_extinction, slopes, atol=0.01)
    assert uniformity(found, truth)[2] < 4 * MMAG


def test_flats_of_quadrants_are_found():
    observations, truth = make_survey(76, second_grid=True, flat_sigma=0.02, cells=3, dither=0.15, visits=6)
    found = calibrate_survey(observations, NOTHING, CONFIG)
    off = found.flat + truth.flat
    assert np.std(truth.flat) > 15 * MMAG
    assert np.std(off) < 2.5 * MMAG


def test_variables_and_outliers_do_not_move_images():
    calm, truth = make_survey(77, second_grid=True, dither=0.1, variables=0.0, outliers=0.0)
    wild, truth_wild = make_survey(77, second_grid=True, dither=0.1, variables=0.25, outliers=0.03)
    one = uniformity(calibrate_survey(calm, NOTHING, CONFIG), truth)[2]
    two = uniformity(calibrate_survey(wild, NOTHING, CONFIG), truth_wild)[2]
    assert two < 1.6 * one


def test_stars_are_means_of_corrected_magnitudes():
    observations, truth = make_survey(78, fields=2, second_grid=True, dither=0.1, variables=0.0)
    found = calibrate_survey(observations, NOTHING, FREE)
    known = np.isfinite(found.star_mag)
    assert np.array_equal(known, np.bincount(observations.star, minlength=observations.n_stars) > 0)
    often = np.bincount(observations.star, minlength=observations.n_stars) >= 4
    shift = np.mean(truth.zero)  # the scale's zero is that of the mean image
    assert np.std(found.star_mag[often] - truth.mag[often]) < 9 * MMAG
    assert abs(np.median(found.star_mag[often] - truth.mag[often]) - shift) < 3 * MMAG


def test_an_image_without_stars_has_the_offset_expected():
    observations, _ = make_survey(79, fields=2)
    more = replace(observations, n_images=observations.n_images + 1)
    found = calibrate_survey(more, NOTHING, CONFIG)
    assert found.offset[-1] == 0.0
    assert found.n_used[-1] == 0


TINY = SurveyObservations(
    star=np.array([0, 0]), image=np.array([0, 1]), mag=np.array([15.0, 15.1]), error=np.full(2, 0.01),
    n_stars=1, n_images=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("observations", "images", "config", "words"),
    [
        (replace(TINY, image=np.array([0, 2])), NOTHING, CONFIG, "image from 0 to 2, not 0 to 1"),
        (replace(TINY, mag=np.array([15.0, np.nan])), NOTHING, CONFIG, "no numbers"),
        (replace(TINY, error=np.array([0.0, 0.1])), NOTHING, CONFIG, "not positive"),
        (TINY, SurveyImages(night=np.array([0, 0])), CONFIG, "without the images' airmass"),
        (TINY, SurveyImages(np.array([0, 0]), np.ones(2)), FREE, "they tell nothing"),
    ],
)
def test_what_does_not_fit_is_refused(observations, images, config, words):
    with pytest.raises(UnusableInputError, match=words):
        calibrate_survey(observations, images, config)


def test_two_images_of_one_star():
    found = calibrate_survey(TINY, NOTHING, FREE)
    np.testing.assert_allclose(found.offset, [0.05, -0.05], atol=1e-9)
    assert found.star_mag[0] == pytest.approx(15.05, abs=1e-9)
