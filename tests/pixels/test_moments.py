"""Moments of pixels are numpy's, and a Gaussian under a Gaussian window comes out as it is."""

import numpy as np
from aperture_builders import add_gaussians
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.moments import (
    ISO_COLUMNS,
    ellipse_axes,
    isophotal_moments,
    unwindowed,
    windowed_centre,
)
from zsds_tasks.pixels.segmentation import SegmentationConfig, segment

centre = st.floats(-0.5, 0.5)


def measured(image, found, mask, bits=0):
    out = np.zeros((len(found), len(ISO_COLUMNS)))
    isophotal_moments(image, mask, np.uint16(bits), found.pixels, found.first, out)
    return [dict(zip(ISO_COLUMNS, row, strict=True)) for row in out]


@settings(max_examples=25)
@given(st.integers(0, 9999))
def test_isophotal_moments_are_those_of_numpy(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1, (40, 47)).astype(np.float32)
    add_gaussians(image, rng.uniform(0, 46, 6), rng.uniform(0, 39, 6), rng.uniform(50, 900, 6), 1.2, 2.0, 0.4)
    mask = rng.integers(0, 4, image.shape).astype(np.uint16)
    noise = Mesh.constant(1.0, image.shape, 32)
    found = segment(image, mask, 0, noise, 2.2, SegmentationConfig(min_area=6))
    for k, row in enumerate(measured(image, found, mask)):
        y, x = np.nonzero(found.labels == k + 1)
        light = np.maximum(image[y, x].astype(float), 0)
        mx, my = np.average(x, weights=light), np.average(y, weights=light)
        assert np.isclose(row["x"], mx)
        assert np.isclose(row["y"], my)
        covariance = np.cov(np.array([x, y]), aweights=light, ddof=0)
        if covariance[0, 0] * covariance[1, 1] - covariance[0, 1] ** 2 > 0.01:  # else widened by a pixel
            np.testing.assert_allclose(
                [row["xx"], row["yy"], row["xy"]], covariance.ravel()[[0, 3, 1]], atol=0.09
            )
        assert np.isclose(row["flux"], light.sum())
        assert np.isclose(row["peak"], image[y, x].max())
        assert row["or_mask"] == np.bitwise_or.reduce(mask[y, x])
        assert row["at_edge"] == float(min(x.min(), y.min()) == 0 or x.max() == 46 or y.max() == 39)


def test_a_core_without_light_is_placed_by_its_area():
    image = np.zeros((31, 31), np.float32)
    add_gaussians(image, [15.0], [14.0], [5e4], 1.5)
    mask = np.zeros(image.shape, np.uint16)
    noise = Mesh.constant(1.0, image.shape, 32)
    mask[12:17, 13:18] = 4
    image[12:17, 13:18] = np.nan
    found = segment(image, mask, 4, noise, 2.2, SegmentationConfig(), full_bits=4)
    (row,) = measured(image, found, mask, 4)
    assert abs(row["x"] - 15) < 1e-9
    assert abs(row["y"] - 14) < 1e-9
    assert row["unusable"] == 25


@settings(max_examples=40)
@given(centre, centre, st.floats(0.9, 4.0), st.floats(0.9, 4.0), st.floats(-0.6, 0.6), st.floats(0.9, 2.0))
def test_a_gaussian_keeps_its_place_and_shape_under_a_window(dx, dy, xx, yy, part, sigma):
    xy = part * np.sqrt(xx * yy)
    stamp = np.zeros((31, 31), np.float32)
    add_gaussians(stamp, [15 + dx], [15 + dy], [1e4], xx, yy, xy)
    sums, scratch = np.zeros(6), np.empty(31)
    x, y = windowed_centre(stamp, 15.0, 15.0, sigma, 2.0, scratch, sums)
    assert abs(x - 15 - dx) < 0.01
    assert abs(y - 15 - dy) < 0.01
    # Round off pixels, an end of the window at 4 sigma, and the last step of the centre.
    np.testing.assert_allclose(unwindowed(sums, sigma), (xx, yy, xy), rtol=0.04, atol=0.04)


def test_without_light_the_centre_stays():
    stamp = np.full((21, 21), -1, np.float32)
    assert windowed_centre(stamp, 9.7, 10.2, 1.0, 2.0, np.empty(21), np.zeros(6)) == (9.7, 10.2)
    assert unwindowed(np.zeros(6), 1.0) == (0.02, 0.02, 0.0)


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(-0.9, 0.9))
def test_axes_are_those_of_the_matrix(xx, yy, part):
    xy = part * np.sqrt(xx * yy)
    a, b, angle = ellipse_axes(xx, yy, xy)
    low, high = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    np.testing.assert_allclose([a, b], np.sqrt([max(high, 0.02), max(low, 0.02)]), rtol=1e-6, atol=1e-6)
    along = np.array([np.cos(angle), np.sin(angle)])
    assert np.isclose(along @ [[xx, xy], [xy, yy]] @ along, high)
