"""Sky level and noise come out of images whose truth is known, sources or not."""

import numpy as np
import pytest
from aperture_builders import add_gaussians
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.pixels.background_grid import fill_gaps, median_filter, slopes

CONFIG = BackgroundConfig(cell=64)


def sky(shape=(301, 423), level=150.0, noise=5.0, seed=0):
    rng = np.random.default_rng(seed)
    image = (level + noise * rng.standard_normal(shape)).astype(np.float32)
    return image, np.zeros(shape, np.uint16)


def with_stars(image, per_pixel, seed, flux=2000.0, sigma=0.9):
    rng = np.random.default_rng(seed)
    n = int(image.size * per_pixel)
    ny, nx = image.shape
    light = flux * rng.pareto(1.2, n).clip(0.02, 50)
    add_gaussians(image, rng.uniform(0, nx - 1, n), rng.uniform(0, ny - 1, n), light, sigma**2)
    return image


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_blank_sky_is_measured_without_bias(seed):
    image, mask = sky((770, 768), seed=seed)
    found = measure_background(image, mask, 0, CONFIG)
    # 4096 pixels a cell, 82 % used, median of nine cells.
    assert abs(float(np.mean(found.level.values)) - 150) < 0.05
    assert np.std(found.level.values) < 0.15
    assert abs(float(np.mean(found.noise.values)) / 5 - 1) < 0.01


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_crowded_sky_is_nearer_the_truth_than_a_clipped_median(seed):
    image, mask = sky((770, 768), seed=seed)
    with_stars(image, 0.01, seed)
    found = measure_background(image, mask, 0, CONFIG)
    values = image.ravel()
    for _ in range(30):
        middle = np.median(values)
        off = np.abs(values - middle)
        values = values[off < 3 * 1.4826 * np.median(off)]
    ours, theirs = float(np.median(found.level.values)) - 150, float(np.median(values)) - 150
    assert theirs > 0.5
    assert abs(ours) < 0.35 * theirs
    assert abs(float(np.median(found.noise.values)) / 5 - 1) < 0.03


def test_a_steep_gradient_is_followed_and_adds_no_noise():
    image, mask = sky((640, 640))
    y, x = np.mgrid[0:640, 0:640]
    slope = (0.3 * x - 0.2 * y).astype(np.float32)
    image += slope
    found = measure_background(image, mask, 0, CONFIG)
    inner = np.s_[32:-32, 32:-32]  # beyond the outermost middles a mesh is constant
    np.testing.assert_allclose(found.level.expand()[inner], 150 + slope[inner], atol=0.8)
    np.testing.assert_allclose(found.noise.values, 5, rtol=0.08)


def test_unusable_cells_are_filled_from_those_around():
    image, mask = sky((640, 640))
    image += np.float32(0.1) * np.arange(640, dtype=np.float32)
    clean = measure_background(image, mask, 0, CONFIG)
    image[128:320, 200:400] = np.nan
    image[400:500, 100:300] = 60000
    mask[400:500, 100:300] = 1 << 8
    image[600, 600] = np.inf
    found = measure_background(image, mask, 1 << 8, CONFIG)
    assert np.all(np.isfinite(found.level.values))
    np.testing.assert_allclose(found.level.values, clean.level.values, atol=1.0)
    np.testing.assert_allclose(found.noise.values, clean.noise.values, rtol=0.1)


@settings(max_examples=15)
@given(
    st.integers(70, 200), st.integers(70, 200), st.floats(0.5, 20), st.floats(-300, 300), st.integers(0, 99)
)
def test_level_moves_with_the_image_and_noise_scales_with_it(ny, nx, factor, offset, seed):
    image, mask = sky((ny, nx), seed=seed)
    config = BackgroundConfig(cell=32)
    one = measure_background(image, mask, 0, config)
    other = measure_background((image * np.float32(factor) + np.float32(offset)), mask, 0, config)
    np.testing.assert_allclose(other.level.values, one.level.values * factor + offset, atol=0.15 * factor)
    np.testing.assert_allclose(other.noise.values, one.noise.values * factor, rtol=0.02)


def test_the_same_image_gives_the_same_bits():
    image, mask = sky()
    with_stars(image, 0.005, 1)
    one, two = (measure_background(image, mask, 0, CONFIG) for _ in range(2))
    assert one.level.values.tobytes() == two.level.values.tobytes()
    assert one.noise.values.tobytes() == two.noise.values.tobytes()


def test_an_image_smaller_than_a_cell_has_one():
    image, mask = sky((40, 51))
    found = measure_background(image, mask, 0, BackgroundConfig(cell=128, min_pixels=100))
    assert found.level.values.shape == (1, 1)
    assert abs(float(found.level.values[0, 0]) - 150) < 1


def test_what_cannot_be_measured_is_refused():
    image, mask = sky((80, 80))
    with pytest.raises(ValueError, match=r"\(80, 80\) pixels with a mask of \(80, 79\)"):
        measure_background(image, mask[:, :79].copy(), 0, CONFIG)
    with pytest.raises(ValueError, match="no cell of 64 px has pixels that can be used"):
        measure_background(np.full_like(image, np.nan), mask, 0, CONFIG)
    with pytest.raises(ValueError, match="no cell of 64 px has 5000 pixels"):
        measure_background(image, mask, 0, BackgroundConfig(cell=64, min_pixels=5000))


@given(st.integers(3, 9), st.integers(3, 9), st.floats(-5, 5), st.floats(-5, 5))
def test_a_plane_passes_filter_and_slopes_unchanged(ny, nx, down, across):
    y, x = np.mgrid[0:ny, 0:nx]
    plane = (down * y + across * x + 7).astype(np.float32)
    np.testing.assert_allclose(median_filter(plane, 3), plane, atol=1e-4)
    by_y, by_x = slopes(plane)
    np.testing.assert_allclose(by_y, down, atol=1e-4)
    np.testing.assert_allclose(by_x, across, atol=1e-4)


@given(arrays(np.bool_, (6, 7)), st.floats(-3, 3), st.floats(-3, 3))
def test_gaps_are_filled_within_reason_and_the_rest_stays(gaps, down, across):
    y, x = np.mgrid[0:6, 0:7]
    plane = (down * y + across * x).astype(np.float32)
    holes = np.where(gaps, np.float32(np.nan), plane)
    if gaps.all():
        with pytest.raises(ValueError, match="no cell of the grid"):
            fill_gaps(holes)
        return
    filled = fill_gaps(holes)
    np.testing.assert_array_equal(filled[~gaps], plane[~gaps])
    known = plane[~gaps]
    span = np.ptp(known) + 1e-4
    assert np.all((filled >= known.min() - span) & (filled <= known.max() + span))


def test_a_hole_in_a_plane_is_filled_with_the_plane():
    y, x = np.mgrid[0:8, 0:9]
    plane = (2.0 * y - x).astype(np.float32)
    holes = plane.copy()
    holes[3:5, 4:6] = np.nan
    holes[7] = np.nan
    np.testing.assert_allclose(fill_gaps(holes), plane, atol=1e-3)
