import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from zsds_tasks.pixels.histograms import (
    cell_histograms,
    difference_histogram,
    grouped_quantile,
    neighbour_noise,
)

IMAGES = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30))


@given(IMAGES, st.integers(1, 6), st.integers(1, 6))
def test_every_pixel_is_counted_in_its_cell(image, rows, columns):
    counts = cell_histograms(image, rows, columns)
    np.testing.assert_array_equal(counts.sum(axis=(0, 1)), np.bincount(image.ravel(), minlength=65536))
    ny, nx = image.shape
    y, x = np.divmod(np.arange(image.size), nx)
    cells = np.bincount((y * rows // ny) * columns + x * columns // nx, minlength=rows * columns)
    np.testing.assert_array_equal(counts.sum(axis=2).ravel(), cells)


@given(IMAGES)
def test_differences_are_those_of_numpy(image):
    differences = np.diff(image.astype(np.int64), axis=1).ravel()
    np.testing.assert_array_equal(
        difference_histogram(image), np.bincount(differences + 65535, minlength=131071)
    )


@given(arrays(np.uint16, st.integers(1, 200), elements=st.integers(0, 50)), st.floats(0, 1))
def test_quantiles_lie_where_they_should(values, fraction):
    counts = np.bincount(values)
    found = grouped_quantile(counts, fraction)
    assert values.min() - 0.5 <= found <= values.max() + 0.5
    assert (values < found - 0.5).sum() <= fraction * len(values) + 1e-9
    assert (values > found + 0.5).sum() <= (1 - fraction) * len(values) + 1e-9


def test_the_median_is_finer_than_a_count():
    random = np.random.default_rng(1)
    for true in (1000.1, 1000.5, 1000.9):
        values = np.rint(random.normal(true, 3.0, 200_000)).astype(np.int64)
        assert grouped_quantile(np.bincount(values), 0.5) == pytest.approx(true, abs=0.03)


def test_nothing_has_no_quantile():
    assert np.isnan(grouped_quantile(np.zeros(5, np.int64), 0.5))


@pytest.mark.parametrize("sigma", [1.0, 1.6, 5.0, 50.0])
def test_noise_is_measured_through_rounding_stars_and_slopes(sigma):
    random = np.random.default_rng(2)
    image = random.normal(1000.0, sigma, (400, 411)) + np.linspace(0, 300, 411)
    image[random.random(image.shape) < 0.01] += 5000
    found = neighbour_noise(np.rint(np.clip(image, 0, 65535)).astype(np.uint16))
    assert found == pytest.approx(sigma, rel=0.06)


def test_a_flat_image_has_no_noise_and_a_single_column_none_to_speak_of():
    assert neighbour_noise(np.full((9, 11), 5, np.uint16)) == 0.0
    assert np.isnan(neighbour_noise(np.full((9, 1), 5, np.uint16)))
