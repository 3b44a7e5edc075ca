"""Light in circles and ellipses, and measures of single sources, against truth and slow sums."""

import math

import numpy as np
import pytest
from aperture_builders import GAIN, NOISE, RoundPsf, add_gaussians, add_noise, spread_places
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.aperture import MeasureConfig, measure_sources
from zsds_tasks.pixels.aperture_circle import circle_overlap, circle_sum, radius_of_share
from zsds_tasks.pixels.aperture_kron import ellipse_sum, kron_radius
from zsds_tasks.pixels.aperture_profile import circle_profiles
from zsds_tasks.pixels.aperture_stamp import GOOD, NEIGHBOUR, OUTSIDE, UNUSABLE, load_stamp, mend_stamp
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.segmentation import SegmentationConfig, segment

coordinate = st.floats(-6, 6)
PSF = RoundPsf(1.0)
WIDENED = 1 + 1 / 12
"""Variance of the PSF once each sample fills its pixel, as it does in an aperture."""


@settings(max_examples=60)
@given(coordinate, coordinate, st.floats(0.2, 7))
def test_overlap_of_a_pixel_is_its_counted_area(dx, dy, r):
    n = 400
    fine = (np.arange(n) + 0.5) / n - 0.5
    inside = (dx + fine) ** 2 + (dy + fine)[:, None] ** 2 < r * r
    assert abs(circle_overlap(dx, dy, r) - inside.mean()) < 2.5 / n


@settings(max_examples=60)
@given(st.floats(0.1, 8), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_overlaps_add_up_to_the_circle(r, x, y):
    stamp = np.ones((21, 21), np.float32)
    assert abs(circle_sum(stamp, 10 + x, 10 + y, r) - math.pi * r * r) < 1e-9
    overlaps = sum(circle_overlap(u - x, v - y, r) for u in range(-9, 10) for v in range(-9, 10))
    assert abs(overlaps - math.pi * r * r) < 1e-9


@settings(max_examples=60)
@given(st.integers(0, 9999), st.floats(-3, 15), st.floats(-3, 13), st.floats(0.1, 9))
def test_a_circle_sums_its_pixels_times_their_overlaps(seed, x, y, r):
    stamp = np.random.default_rng(seed).normal(size=(11, 13)).astype(np.float32)
    slow = sum(float(stamp[v, u]) * circle_overlap(u - x, v - y, r) for v in range(11) for u in range(13))
    assert abs(circle_sum(stamp, x, y, r) - slow) < 1e-9


def test_a_circle_over_the_border_counts_what_is_there():
    stamp = np.ones((9, 9), np.float32)
    assert abs(circle_sum(stamp, -0.5, 4.0, 2.0) - math.pi * 2) < 1e-9  # its centre on the border: half


@settings(max_examples=30)
@given(st.floats(0.05, 0.95), st.floats(0.8, 2.5))
def test_the_radius_of_a_share_holds_that_share(share, sigma):
    stamp = np.zeros((41, 41), np.float32)
    add_gaussians(stamp, [20.2], [19.7], [1000.0], sigma**2)
    total = circle_sum(stamp, 20.2, 19.7, 15.0)
    r = radius_of_share(stamp, 20.2, 19.7, share * total, 0.01, 15.0)
    assert abs(circle_sum(stamp, 20.2, 19.7, r) / total - share) < 1e-3
    assert radius_of_share(stamp, 20.2, 19.7, 2 * total, 0.2, 15.0) == 15.0
    assert radius_of_share(stamp, 20.2, 19.7, -1.0, 0.2, 15.0) == 0.2


@settings(max_examples=30)
@given(
    st.floats(2.5, 6), st.floats(0.3, 1), st.floats(0, math.pi), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)
)
def test_an_ellipse_has_its_area(a, ratio, angle, x, y):
    b = max(a * ratio, 1.5)
    cosine, sine = math.cos(angle), math.sin(angle)
    cxx, cyy = (cosine / a) ** 2 + (sine / b) ** 2, (sine / a) ** 2 + (cosine / b) ** 2
    cxy = 2 * cosine * sine * (1 / a**2 - 1 / b**2)
    stamp, state = np.ones((21, 21), np.float32), np.zeros((21, 21), np.uint8)
    state[:, 11:] = NEIGHBOUR
    light, area, neighbours, missing = ellipse_sum(stamp, state, 10 + x, 10 + y, cxx, cyy, cxy, 1.0)
    assert abs(area / (math.pi * a * b) - 1) < 0.01
    assert light == pytest.approx(area)
    assert 0 < neighbours < area
    assert missing == 0


@settings(max_examples=60)
@given(st.floats(0.3, 4), st.floats(0.15, 1), st.floats(0, math.pi), st.floats(-7, 7), st.floats(0.5, 4))
def test_an_ellipse_leaves_no_pixel_of_it_out(a, ratio, angle, x, radius):
    b = max(a * ratio, 0.15)
    cosine, sine = math.cos(angle), math.sin(angle)
    cxx, cyy = (cosine / a) ** 2 + (sine / b) ** 2, (sine / a) ** 2 + (cosine / b) ** 2
    cxy = 2 * cosine * sine * (1 / a**2 - 1 / b**2)
    rng = np.random.default_rng(5)
    stamp, state = rng.uniform(1, 2, (25, 25)).astype(np.float32), np.zeros((25, 25), np.uint8)
    dy, dx = np.mgrid[:25, :25] - np.array([12.3137, 12 + x])[:, None, None]
    share = np.zeros((25, 25))
    third = (-1 / 3, 0.0, 1 / 3)
    for u, v in ((dx + i, dy + j) for i in third for j in third):
        r = np.sqrt(cxx * u**2 + cyy * v**2 + cxy * u * v)
        slope = np.hypot(cxx * u + 0.5 * cxy * v, cyy * v + 0.5 * cxy * u)
        share += np.clip(3 * (radius - r) * r / np.maximum(slope, 1e-30) + 0.5, 0, 1) / 9
    r2 = cxx * dx**2 + cyy * dy**2 + cxy * dx * dy
    slope = np.hypot(cxx * dx + 0.5 * cxy * dy, cyy * dy + 0.5 * cxy * dx)
    depth = radius * np.sqrt(r2) - r2
    share = np.where(depth < -slope, 0, np.where(depth >= slope, 1, share))
    light, area, _, _ = ellipse_sum(stamp, state, 12 + x, 12.3137, cxx, cyy, cxy, radius)
    assert abs(area - share.sum()) < 1e-9
    assert abs(light - np.sum(share * stamp)) < 1e-9
    light = stamp * (r2 < radius**2).astype(np.float64)
    mean = np.sum(np.sqrt(r2) * light) / max(np.sum(light), 1e-30)
    assert abs(kron_radius(stamp, 12 + x, 12.3137, cxx, cyy, cxy, radius) - mean) < 1e-9


def test_the_kron_radius_of_a_gaussian_is_the_mean_distance():
    stamp = np.zeros((41, 41), np.float32)
    add_gaussians(stamp, [20.0], [20.0], [1000.0], 4.0)
    # Mean distance of a round Gaussian: sqrt(pi / 2) sigma.
    assert abs(kron_radius(stamp, 20.0, 20.0, 0.25, 0.25, 0.0, 6.0) - math.sqrt(math.pi / 2)) < 0.01
    assert kron_radius(-stamp, 20.0, 20.0, 0.25, 0.25, 0.0, 6.0) == 0.0


def test_a_stamp_says_what_its_pixels_are():
    image = np.arange(30, dtype=np.float32).reshape(5, 6)
    image[1, 1] = np.nan
    mask, labels = np.zeros((5, 6), np.uint16), np.zeros((5, 6), np.int32)
    mask[2, 2], labels[0, 2], labels[0, 1] = 8, 5, 3
    stamp, state = np.empty((4, 4), np.float32), np.empty((4, 4), np.uint8)
    load_stamp(image, mask, labels, np.uint16(8), np.int32(3), -1, 0, stamp, state)
    expected = np.array([[3, 0, 0, 1], [3, 0, 2, 0], [3, 0, 0, 2], [3, 0, 0, 0]])
    np.testing.assert_array_equal(state, expected)
    assert (GOOD, NEIGHBOUR, UNUSABLE, OUTSIDE) == (0, 1, 2, 3)
    np.testing.assert_array_equal(stamp[state == GOOD], image[:4, :3][state[:, 1:] == GOOD])
    assert np.all(stamp[state != GOOD] == 0)


@settings(max_examples=30)
@given(st.integers(0, 9999), st.integers(1, 12))
def test_a_symmetric_source_is_mended_without_trace(seed, n_bad):
    rng = np.random.default_rng(seed)
    whole = np.zeros((21, 21), np.float32)
    add_gaussians(whole, [10.0], [10.0], [1000.0], 2.0, 3.0, 0.7)
    stamp, state = whole.copy(), np.zeros((21, 21), np.uint8)
    bad = rng.choice(210, n_bad, replace=False)  # the upper half: mirrors are good
    state.reshape(-1)[bad] = UNUSABLE
    stamp.reshape(-1)[bad] = 0
    mend_stamp(stamp, state, 10.0, 10.0, np.empty(60), np.empty(60))
    np.testing.assert_allclose(stamp, whole, atol=1e-3)
    state[:, :] = UNUSABLE
    mend_stamp(stamp, state, 10.0, 10.0, np.empty(60), np.empty(60))
    assert np.all(stamp == 0)


def field(seed, n=60, shape=(420, 410), flux=(800, 60000), apart=25):
    rng = np.random.default_rng(seed)
    x, y = spread_places(rng, n, shape, apart)
    light = np.exp(rng.uniform(*np.log(flux), n))
    image = np.zeros(shape, np.float32)
    add_gaussians(image, x, y, light, PSF.sigma**2)
    return image, x, y, light, rng


def measure(image, mask=None, bits=1):
    mask = np.zeros(image.shape, np.uint16) if mask is None else mask
    noise = Mesh.constant(NOISE, image.shape, 64)
    found = segment(image, mask, bits, noise, PSF.fwhm, SegmentationConfig(), gain=GAIN)
    return measure_sources(image, mask, bits, found, noise, GAIN, PSF.fwhm, MeasureConfig()), found


def nearest(measures, x, y):
    gap = np.hypot(measures.source["x"][:, None] - x, measures.source["y"][:, None] - y)
    rows = gap.argmin(axis=0)
    assert gap.min(axis=0).max() < 1.5
    return rows


def test_without_noise_place_shape_and_light_are_the_planted_ones():
    image, x, y, light, _ = field(1)
    found, _ = measure(image)
    rows = nearest(found, x, y)
    np.testing.assert_allclose(found.source["x"][rows], x, atol=2e-3)
    np.testing.assert_allclose(found.source["y"][rows], y, atol=2e-3)
    np.testing.assert_allclose(found.source["xx"][rows], 1, rtol=0.02)
    np.testing.assert_allclose(found.source["half_light"][rows], 1.1774 * WIDENED**0.5, rtol=0.03)
    np.testing.assert_allclose(found.source["auto"][rows] / light, 1, atol=0.02)
    share = 1 - np.exp(-0.5 * found.radii**2 / WIDENED)
    np.testing.assert_allclose(found.circles[rows] / light[:, None], np.tile(share, (60, 1)), atol=0.04)
    np.testing.assert_allclose(found.circles[rows, 3] / light, share[3], atol=0.004)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_errors_say_how_far_measures_are_off(seed):
    pulls = []
    for k in range(4):
        image, x, y, light, rng = field(100 * seed + k)
        found, _ = measure(add_noise(image, rng))
        rows = nearest(found, x, y)
        flux = found.circles[rows, 3]
        share = 1 - np.exp(-0.5 * found.radii[3] ** 2 / WIDENED)
        flux_error = np.sqrt(NOISE**2 * math.pi * found.radii[3] ** 2 + flux / GAIN)
        pulls.append(
            [
                (found.source["x"][rows] - x) / np.sqrt(found.source["var_x"][rows]),
                (found.source["y"][rows] - y) / np.sqrt(found.source["var_y"][rows]),
                (flux - share * light) / flux_error,
            ]
        )
    for pull in np.concatenate(pulls, axis=1):
        assert abs(np.mean(pull)) < 0.25  # of 240
        assert 0.85 < np.std(pull) < 1.2


def test_a_neighbour_and_a_bad_pixel_are_taken_out():
    alone = np.zeros((60, 70), np.float32)
    add_gaussians(alone, [30.0], [30.0], [9000.0], 1.0)
    image = alone.copy()
    add_gaussians(image, [38.0], [31.0], [6000.0], 1.0)
    mask = np.zeros(image.shape, np.uint16)
    mask[31, 29], image[31, 29] = 1, 5000
    lone, _ = measure(alone)
    found, _ = measure(image, mask)
    row = nearest(found, np.array([30.0]), np.array([30.0]))
    np.testing.assert_allclose(found.circles[row, 3:], lone.circles[:, 3:], rtol=0.01)
    np.testing.assert_allclose(found.lost[row, 5], 1.0, atol=1e-9)
    assert found.source["auto_missing"][row] == 1
    assert abs(found.source["x"][row] - 30) < 0.02


@settings(max_examples=10)
@given(st.integers(0, 9), st.integers(0, 9))
def test_a_shifted_image_gives_shifted_measures(down, across):
    image, *_ = field(7, n=12, shape=(150, 160))
    wide = np.zeros((180, 190), np.float32)
    wide[10:160, 10:170] = image
    one, _ = measure(wide)
    two, _ = measure(np.roll(wide, (down, across), (0, 1)))
    np.testing.assert_allclose(two.source["x"], one.source["x"] + across, atol=1e-6)
    np.testing.assert_allclose(two.source["y"], one.source["y"] + down, atol=1e-6)
    np.testing.assert_allclose(two.circles, one.circles, rtol=1e-5)


def test_profiles_agree_with_the_circles_of_the_catalogue():
    image, *_ = field(3, n=15, shape=(200, 200))
    found, segmentation = measure(image)
    label = np.arange(1, len(segmentation) + 1, dtype=np.int32)
    radii, out, lost = np.array([3.0, 7.0]), np.zeros((len(label), 2)), np.zeros(len(label))
    mask = np.zeros(image.shape, np.uint16)
    x, y = found.source["x"].copy(), found.source["y"].copy()
    circle_profiles(image, mask, segmentation.labels, np.uint16(0), label, x, y, radii, out, lost)
    np.testing.assert_allclose(out, found.circles[:, [3, 5]], rtol=1e-5)
    assert np.all(lost == 0)
    circle_profiles(image, mask, segmentation.labels, np.uint16(0), label, x - 500, y, radii, out, lost)
    np.testing.assert_allclose(lost, 1, atol=1e-9)
    assert np.all(out == 0)
