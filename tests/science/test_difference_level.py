"""The level between two images is right even where there is hardly any sky and one has worse seeing."""

import numpy as np
import pytest
from difference_builders import make_pair, sides

from zsds_tasks.science.difference.align import AlignConfig
from zsds_tasks.science.difference.background import LevelConfig, level_left
from zsds_tasks.science.difference.subtract import DifferenceConfig, subtract

ALIGN = AlignConfig(brightest_mag=12.0, faintest_mag=20.0, lonely_px=3.0)


def crowded(rounds, units="science"):
    pair = make_pair(
        31, shape=(256, 267), stars=3500, galaxies=0, transients=0, new_fwhm=4.5, ref_fwhm=2.2, brightest=5e4
    )
    level = LevelConfig(cell_px=128, rounds=rounds)
    return subtract(*sides(pair), DifferenceConfig(align=ALIGN, level=level, units=units))


@pytest.mark.parametrize("units", ["science", "reference"])
def test_a_crowded_field_in_bad_seeing(units):
    before, after = (crowded(rounds, units) for rounds in (0, 1))
    noise = float(np.median(after.subtraction.noise))
    bias, left = (float(np.nanmedian(made.image)) / noise for made in (before, after))
    assert abs(bias) > 0.15  # there is something to mend
    assert abs(left) < 0.05
    assert np.nanstd(after.subtraction.score) < np.nanstd(before.subtraction.score)
    taken = float(np.median(after.level.values) - np.median(before.level.values))
    assert taken == pytest.approx(
        bias * noise / (1.0 if units == "science" else after.alignment.factor[0]), rel=0.4
    )


def test_a_good_difference_is_left_alone():
    rng = np.random.default_rng(5)
    image = rng.normal(0, 3, (200, 300)).astype(np.float32)
    assert level_left(image, 3.0, LevelConfig()) is None
    assert level_left(np.full((64, 64), np.nan, np.float32), 3.0, LevelConfig()) is None


def test_a_slope_is_measured_and_stars_are_not():
    rng = np.random.default_rng(6)
    image = rng.normal(0, 3, (512, 512)) + np.linspace(-4, 4, 512)
    image[100:110, 100:110] = 500.0
    image[300:330, 40:90] = np.nan
    found = level_left(image.astype(np.float32), 3.0, LevelConfig(cell_px=64, filter_cells=1))
    expected = np.linspace(-4, 4, 512).reshape(8, 64).mean(axis=1)
    assert np.abs(found.values - expected).max() < 0.5
