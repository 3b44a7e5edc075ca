"""Measures of stamps: laws, known values, the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from realbogus_builders import SIZE, stamps_of

from zsds_tasks.science.realbogus.shapes import SHAPES, medians, shape_measures

IS_REAL = np.array([True, False, True, True, False, True])
MIDDLE = SIZE // 2


def measured(stamps, *names):
    found = shape_measures(stamps)
    return found[:, [SHAPES.index(name) for name in names]]


def with_noise(image, noise=1.0, seed=1):
    """A triplet whose science and difference show an image on noise."""
    stamps = np.random.default_rng(seed).normal(0, noise, (1, 3, SIZE, SIZE))
    stamps[0, [0, 2]] += image
    return stamps


def gaussian(sigma, x=0.0, y=0.0):
    rows, columns = np.mgrid[:SIZE, :SIZE] - MIDDLE
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def test_units_and_sky_cancel():
    stamps = stamps_of(IS_REAL)
    sky = np.array([200.0, 100.0, 0.0], np.float32)[:, None, None]
    unit = np.array([7.0, 0.1, 3.0], np.float32)[:, None, None]
    assert np.allclose(shape_measures(unit * (stamps + sky)), shape_measures(stamps), atol=2e-3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_directions_and_the_sign_of_the_difference_do_not_matter(turns):
    stamps = stamps_of(IS_REAL)
    turned = np.rot90(stamps, turns, axes=(2, 3)).copy()
    turned[:, 2] *= -1
    assert np.allclose(shape_measures(turned), shape_measures(stamps), atol=1e-4)


def test_a_spike_is_sharp_and_a_star_is_as_wide_as_it_is():
    spike = np.zeros((SIZE, SIZE))
    spike[MIDDLE, MIDDLE] = 1e4
    assert measured(with_noise(spike), "difference_sharp")[0, 0] == pytest.approx(1.0, abs=1e-3)
    for sigma in (1.0, 1.3):
        star = with_noise(1e4 * gaussian(sigma))
        five = gaussian(sigma)[MIDDLE - 2 : MIDDLE + 3, MIDDLE - 2 : MIDDLE + 3]
        assert measured(star, "science_sharp")[0, 0] == pytest.approx((five**2).sum() ** -0.5, abs=1e-3)
        assert measured(star, "turned")[0, 0] == pytest.approx(1.0, abs=1e-3)


def test_light_of_the_reference_counts_beside_that_of_the_difference():
    stamps = with_noise(1e4 * gaussian(1.0))
    stamps[0, 1] += 5e4 * gaussian(1.0)
    light = measured(stamps, "science_light", "template_light")[0]
    assert light == pytest.approx(np.arcsinh([1.0, 5.0]), abs=0.15)  # units are the stamps' own scatters


def test_what_lies_beside_is_seen():
    alone = with_noise(1e3 * gaussian(1.0))
    dipole = with_noise(1e3 * (gaussian(1.0) - gaussian(1.0, x=3.0)))
    pair = with_noise(1e3 * (gaussian(1.0) + gaussian(1.0, y=-6.0)))
    names = ("deep", "beside", "rough")
    of_alone, of_dipole, of_pair = (measured(one, *names)[0] for one in (alone, dipole, pair))
    assert of_alone[0] > -0.05
    assert of_dipole[0] == pytest.approx(-1.0, abs=0.05)
    assert of_pair[1] == pytest.approx(1.0, abs=0.05)
    assert of_pair[2] > of_alone[2] + 1


def test_masked_pixels_count_and_do_not_spread():
    stamps = with_noise(1e3 * gaussian(1.0))
    whole = shape_measures(stamps)[0]
    stamps[0, 2, MIDDLE - 4 : MIDDLE - 2, MIDDLE] = np.nan
    found = measured(stamps, "blank_near", "blank_wide")[0]
    assert found == pytest.approx([1 / 37, 2 / 317])
    assert np.isfinite(shape_measures(stamps)).all()
    assert measured(stamps, "difference_sharp")[0, 0] == pytest.approx(
        whole[SHAPES.index("difference_sharp")]
    )


def test_nothing_is_unknown():
    assert shape_measures(np.zeros((0, 3, SIZE, SIZE))).shape == (0, len(SHAPES))
    assert np.isnan(shape_measures(np.full((2, 3, SIZE, SIZE), np.nan))).all()
    assert np.isfinite(shape_measures(np.zeros((2, 3, SIZE, SIZE)))).all()


def test_a_channel_without_a_pixel_says_nothing_and_takes_nothing_from_the_others():
    stamps = with_noise(1e3 * gaussian(1.0))
    whole = shape_measures(stamps)[0]
    stamps[0, 1] = np.nan
    found = shape_measures(stamps)[0]
    is_template = np.array([name.startswith("template_") for name in SHAPES])
    assert np.isnan(found[is_template]).all()
    assert np.array_equal(found[~is_template], whole[~is_template])


def testmedians_are_numpys():
    values = np.random.default_rng(2).normal(size=(40, 3, 21)).astype(np.float32)
    values[np.random.default_rng(3).random(values.shape) < 0.3] = np.nan
    values[0, 0], values[1, 1, 1:] = np.nan, np.nan
    expected = [
        [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0 for row in one] for one in values
    ]
    assert medians(values) == pytest.approx(np.array(expected))
