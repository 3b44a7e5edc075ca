"""Flux scale and registration come from the stars that both images share."""

import dataclasses

import numpy as np
import pytest
from difference_builders import make_pair, star_lists

from zsds_tasks.science.difference.align import AlignConfig, StarList, align, match_stars

SHAPE = (900, 1000)
CONFIG = AlignConfig(brightest_mag=12.0, faintest_mag=20.0)


def stars(seed=0, n=400, factor=1.0, slope=(0.0, 0.0), shift=(0.0, 0.0), scatter=0.01, wobble=0.02):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(1, SHAPE[1], n), rng.uniform(1, SHAPE[0], n)
    flux = 10 ** rng.uniform(3.5, 5.0, n)
    mag, ones = 26.0 - 2.5 * np.log10(flux), np.ones(n)
    u, v = (2 * x - 1) / SHAPE[1] - 1, (2 * y - 1) / SHAPE[0] - 1
    ratio = factor * (1 + slope[0] * u + slope[1] * v) * (1 + scatter * rng.standard_normal(n))
    dx, dy = wobble * rng.standard_normal((2, n))
    science = StarList(x + shift[0] + dx, y + shift[1] + dy, flux, 0.005 * flux, mag, ones, ones > 0)
    return science, StarList(x, y, ratio * flux, 0.002 * flux, mag, ones, ones > 0)


def run(pair, zero_points=(26.0, 26.5), **changes):
    return align(*pair, zero_points, SHAPE, CONFIG.model_copy(update=changes))


@pytest.mark.parametrize("seed", range(4))
def test_factor_offset_and_errors_are_found(seed):
    found = run(stars(seed, factor=1.7, shift=(0.04, -0.06), wobble=0.08))
    assert found.factor == (pytest.approx(1.7, rel=0.003), 0.0, 0.0)
    assert found.scatter == pytest.approx(0.01, rel=0.25)
    assert (found.offset_x, found.offset_y) == pytest.approx((0.04, -0.06), abs=0.02)
    # What is left of an offset displaces all stars: it is part of the error.
    assert found.sigma_x == pytest.approx(np.hypot(0.08, 0.04), rel=0.2)
    assert found.sigma_y == pytest.approx(np.hypot(0.08, 0.06), rel=0.2)
    assert not found.must_shift
    assert not found.is_fallback
    assert found.zero_point_factor == pytest.approx(10**0.2)


def test_a_large_offset_is_told():
    found = run(stars(5, shift=(0.15, 0.02)))
    assert found.must_shift
    assert found.offset_x == pytest.approx(0.15, abs=0.01)


def test_the_error_has_a_floor():
    assert run(stars(6, wobble=0.001)).sigma_x == CONFIG.sigma_floor_px


def test_bright_stars_tell_the_registration_if_enough_are_there():
    science, reference = stars(12, wobble=0.03)
    rng = np.random.default_rng(1)
    faint = rng.random(len(science)) < 0.7
    science.sigflux[faint] = 0.04 * science.flux[faint]
    science.xpos[faint] += 0.25 * rng.standard_normal(faint.sum())
    assert run((science, reference)).sigma_x == pytest.approx(0.03, rel=0.25)
    assert run((science, reference), placed_snr=1e4).sigma_x > 0.1  # too few: all tell


def test_a_gradient_is_used_only_if_it_helps():
    assert run(stars(7)).factor[1:] == (0.0, 0.0)
    f, fx, fy = run(stars(7, factor=2.0, slope=(0.02, -0.03))).factor
    assert f == pytest.approx(2.0, rel=0.003)
    assert (fx / f, fy / f) == pytest.approx((0.02, -0.03), abs=0.004)


def test_variables_and_wrong_matches_do_not_pull():
    science, reference = stars(8, factor=1.2)
    rng = np.random.default_rng(0)
    reference.flux[rng.random(400) < 0.2] *= 3
    assert run((science, reference)).factor[0] == pytest.approx(1.2, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_a_star_counts_with_its_own_error(seed):
    errors = []
    for k in range(20):
        science, reference = stars(1000 * seed + k, n=70, factor=1.3, scatter=0.003)
        rng = np.random.default_rng(k)
        faint = rng.random(70) < 0.8
        science.sigflux[faint] = 0.04 * science.flux[faint]
        science.flux[faint] *= 1 + 0.04 * rng.standard_normal(faint.sum())
        found = run((science, reference))
        assert CONFIG.least_matches <= found.n_matches
        errors.append(found.factor[0] / 1.3 - 1)
    # Ten or so stars of 0.5 % each, as allowed; the median of all of them is good to 0.0032 only.
    assert np.std(errors) < 0.0020


def test_too_few_stars_leave_it_to_the_zero_points():
    found = run(stars(9, n=12))
    assert found.n_matches < CONFIG.least_placed
    assert found.is_fallback
    assert found.factor == (pytest.approx(10**0.2), 0.0, 0.0)
    assert found.sigma_x == found.sigma_y == CONFIG.sigma_default_px
    assert not found.must_shift
    empty = tuple(StarList(*(np.empty(0) for _ in range(6)), np.empty(0, bool)) for _ in range(2))
    assert run(empty).n_matches == 0


@pytest.mark.parametrize("seed", range(4))
def test_few_stars_say_how_well_images_lie_on_each_other(seed):
    found = run(stars(90 + seed, n=22, shift=(0.05, -0.03), wobble=0.06))
    assert CONFIG.least_placed <= found.n_matches < CONFIG.least_matches
    assert found.is_fallback
    assert found.factor == (pytest.approx(10**0.2), 0.0, 0.0)
    assert 0.04 < found.sigma_x < CONFIG.sigma_default_px
    assert found.offset_x == pytest.approx(0.05, abs=0.08)


@pytest.mark.parametrize(
    "case", ["faint", "bright", "galaxy", "unusable", "noisy", "neighbour", "edge", "nan"]
)
def test_stars_that_cannot_serve_are_left_out(case):
    science, reference = stars(10)
    before = match_stars(science, reference, SHAPE, CONFIG)[1]
    row = before[3]
    if case == "faint":
        reference.mag[row] = 21.0
    elif case == "bright":
        reference.mag[row] = 11.0
    elif case == "galaxy":
        reference.is_star[row] = 0.1
    elif case == "unusable":
        science.is_usable[row] = False
    elif case == "noisy":
        science.sigflux[row] = science.flux[row]
    elif case == "neighbour":
        other = before[10]
        reference.xpos[other], reference.ypos[other] = reference.xpos[row] + 8, reference.ypos[row] - 8
    elif case == "edge":
        reference.xpos[row] = science.xpos[row] = 30.0
    else:
        science.xpos[row] = np.nan
    assert row not in match_stars(science, reference, SHAPE, CONFIG)[1]
    assert len(match_stars(science, reference, SHAPE, CONFIG)[1]) >= len(before) - 2


def test_the_order_of_rows_does_not_matter():
    science, reference = stars(11, factor=1.3)
    order = np.random.default_rng(1).permutation(400)
    mixed = StarList(*(getattr(science, f.name)[order] for f in dataclasses.fields(science)))
    first, second = run((science, reference)), run((mixed, reference))
    assert first.factor == second.factor
    assert first.sigma_x == second.sigma_x
    assert first.n_matches == second.n_matches


def test_a_pair_of_images_is_aligned():
    pair = make_pair(70, factor=2.5, stars=600, galaxies=0, transients=0, shift=(0.05, 0.02))
    found = align(*star_lists(pair), (26.0, 27.0), pair.new.shape, CONFIG)
    assert found.factor[0] == pytest.approx(2.5, rel=0.01)
    assert found.n_matches >= 20
