"""Resampling is the kernel as written down, keeps light, and knows where it knows nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.warp import CoarseMap, WarpConfig, Warped, node_shape, warp, warp_linear
from zsds_tasks.pixels.warp_kernels import lanczos_table

BAD, SIGNAL = 4, 2
seeds = st.integers(0, 2**32 - 1)


def affine(shape, angle_deg=0.0, scale=1.0, shift=(0.0, 0.0), step=32, out_shape=None):
    """Turn about the middle of an image, scale (input pixels per output pixel), shift."""
    out_shape = out_shape or shape
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    x0, y0 = (shape[1] - 1) / 2 + shift[0], (shape[0] - 1) / 2 + shift[1]
    x1, y1 = (out_shape[1] - 1) / 2, (out_shape[0] - 1) / 2
    return CoarseMap.of(
        lambda x, y: (c * (x - x1) - s * (y - y1) + x0, s * (x - x1) + c * (y - y1) + y0), out_shape, step
    )


def inverse(shape, angle_deg, scale, shift, out_shape):
    """Undo `affine(shape, ..., out_shape=out_shape)`."""
    c, s = np.cos(np.radians(angle_deg)) / scale, np.sin(np.radians(angle_deg)) / scale
    x0, y0 = (shape[1] - 1) / 2 + shift[0], (shape[0] - 1) / 2 + shift[1]
    x1, y1 = (out_shape[1] - 1) / 2, (out_shape[0] - 1) / 2
    return CoarseMap.of(
        lambda x, y: (c * (x - x0) + s * (y - y0) + x1, -s * (x - x0) + c * (y - y0) + y1), shape
    )


def noise(seed, shape=(90, 113)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def no_mask(image):
    return np.zeros(image.shape, np.uint16)


def star(shape, x, y, fwhm, flux=1.0):
    """A Gaussian integrated over pixels well enough to be sampled."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    sigma = fwhm / 2.3548
    light = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return (flux * light).astype(np.float32)


def lanczos(distance):
    """Return the weights nearest to Lanczos-3 that return 1, x and x^2."""
    plain = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    powers = np.stack([np.ones(6), distance, distance**2])
    return plain + np.linalg.pinv(powers) @ (np.array([1.0, 0, 0]) - powers @ plain)


def directly(image, usable, chart, largest_lost):
    """Write the definition down, pixel by pixel, in double precision."""
    row, column = np.mgrid[: chart.shape[0], : chart.shape[1]].astype(float)
    xs, ys = chart.at(column.ravel(), row.ravel())
    out, coverage = np.full(xs.shape, np.nan), np.zeros(xs.shape)
    padded = np.zeros((image.shape[0] + 12, image.shape[1] + 12))
    padded[6:-6, 6:-6] = np.where(usable, image, 0)
    good = np.zeros(padded.shape, bool)
    good[6:-6, 6:-6] = usable
    for k, (x, y) in enumerate(zip(xs, ys, strict=True)):
        if not (-0.5 <= x < image.shape[1] - 0.5 and -0.5 <= y < image.shape[0] - 0.5):
            continue
        i, j = int(np.floor(x)) - 2, int(np.floor(y)) - 2
        across, down = lanczos(np.arange(i, i + 6) - x), lanczos(np.arange(j, j + 6) - y)
        weight = np.outer(down, across)
        box = np.s_[j + 6 : j + 12, i + 6 : i + 12]
        coverage[k] = np.abs(weight)[good[box]].sum() / np.abs(weight).sum()
        if coverage[k] >= 1 - largest_lost and weight[good[box]].sum() >= 0.5:
            out[k] = (weight * padded[box])[good[box]].sum() / weight[good[box]].sum()
    return out.reshape(chart.shape), coverage.reshape(chart.shape)


def test_weights_keep_level_slope_and_curvature_and_mirror():
    table = lanczos_table(64).astype(float)
    distance = np.arange(-2, 4) - np.arange(65)[:, None] / 64
    for degree, expected in enumerate((1, 0, 0)):
        np.testing.assert_allclose((table * distance**degree).sum(axis=1), expected, atol=1e-6)
    np.testing.assert_allclose(table, table[::-1, ::-1], atol=1e-7)
    assert np.abs(table - np.sinc(distance) * np.sinc(distance / 3)).max() < 0.02


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_kernel_as_written_down(seed, lost):
    random = np.random.default_rng([seed, int(10 * lost)])
    angle, scale = random.uniform(-180, 180), random.uniform(0.9, 1.1)
    image = noise(seed, (41, 53))
    mask = np.where(random.random(image.shape) < 0.04, BAD, SIGNAL).astype(np.uint16)
    image[random.random(image.shape) < 0.01] = np.nan
    chart = affine(image.shape, angle, scale, random.uniform(-3, 3, 2), step=16, out_shape=(38, 47))
    found = warp(image, mask, BAD, chart, WarpConfig(largest_lost=lost))
    expected, coverage = directly(image, (mask != BAD) & np.isfinite(image), chart, lost)
    decided = np.abs(coverage - (1 - lost)) > 1e-3
    assert np.array_equal(np.isnan(found.image)[decided], np.isnan(expected)[decided])
    assert np.abs(found.coverage - coverage).max() < 1e-3
    both = np.isfinite(found.image) & np.isfinite(expected)
    # Places are rounded to 1/4096 px, which matters for white noise only.
    assert np.abs(found.image[both] - scale**2 * expected[both]).max() < 1e-2


def test_identity_gives_the_same_pixels():
    image, mask = noise(1), no_mask(noise(1))
    mask[30, 40] = BAD
    found = warp(image, mask, BAD, affine(image.shape), variance=np.abs(image))
    expected = image.copy()
    expected[30, 40] = np.nan
    np.testing.assert_array_equal(found.image, expected)
    np.testing.assert_array_equal(found.variance, np.abs(image))
    np.testing.assert_array_equal(found.coverage, mask == 0)


@settings(max_examples=20)
@given(seeds, st.integers(-40, 40), st.integers(-40, 40), st.sampled_from([8, 32, 200]))
def test_a_shift_by_whole_pixels_is_exact(seed, dx, dy, step):
    image = noise(seed)
    ny, nx = image.shape
    found = warp(image, no_mask(image), BAD, affine(image.shape, shift=(dx, dy), step=step)).image
    expected = np.full(image.shape, np.nan, np.float32)
    y, x = slice(max(0, -dy), min(ny, ny - dy)), slice(max(0, -dx), min(nx, nx - dx))
    expected[y, x] = image[max(0, dy) : ny + min(0, dy), max(0, dx) : nx + min(0, dx)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_is_exact(turns):
    image = noise(2)
    turned = np.rot90(image, turns)
    found = warp(image, no_mask(image), BAD, affine(image.shape, 90.0 * turns, out_shape=turned.shape)).image
    np.testing.assert_allclose(found[1:-1, 1:-1], turned[1:-1, 1:-1], atol=1e-5)


@settings(max_examples=30)
@given(seeds, st.floats(2.2, 4.0), st.floats(-180, 180), st.floats(0.97, 1.02))
def test_light_of_a_star_is_kept(seed, fwhm, angle, scale):
    random = np.random.default_rng(seed)
    image = star((61, 61), *(30 + random.uniform(-2, 2, 2)), fwhm)
    chart = affine(image.shape, angle, scale, random.uniform(-0.5, 0.5, 2), out_shape=(73, 75))
    found = warp(image, no_mask(image), BAD, chart).image
    assert np.nansum(found) == pytest.approx(image.sum(dtype=float), rel=1e-3)


@settings(max_examples=20)
@given(seeds, st.floats(2.0, 4.0))
def test_a_star_is_where_the_map_puts_it(seed, fwhm):
    random = np.random.default_rng(seed)
    x, y, dx, dy = *(30 + random.uniform(-2, 2, 2)), *random.uniform(-0.5, 0.5, 2)
    image = star((61, 61), x, y, fwhm)
    found = warp(image, no_mask(image), BAD, affine(image.shape, shift=(dx, dy))).image
    expected = star((61, 61), x - dx, y - dy, fwhm)
    assert np.nanmax(np.abs(found - expected)) < 0.06 * expected.max()
    row, column = np.mgrid[:61, :61]
    near = np.hypot(row - y, column - x) < 12
    light = np.where(near, found, 0)
    assert (light * column).sum() / light.sum() == pytest.approx(x - dx, abs=5e-4)
    assert (light * row).sum() / light.sum() == pytest.approx(y - dy, abs=5e-4)


@settings(max_examples=10)
@given(seeds, st.floats(-180, 180), st.floats(0.95, 1.05))
def test_what_is_band_limited_comes_back(seed, angle, scale):
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:120, :120]
    waves = random.uniform(-0.12, 0.12, (30, 2))  # cycles per pixel
    phases = random.uniform(0, 2 * np.pi, 30)
    image = sum(
        np.cos(2 * np.pi * (u * column + v * row) + p) for (u, v), p in zip(waves, phases, strict=True)
    )
    image, shift = image.astype(np.float32), random.uniform(-0.5, 0.5, 2)
    out_shape = (190, 190)
    there = warp(image, no_mask(image), BAD, affine(image.shape, angle, scale, shift, out_shape=out_shape))
    back = warp(there.image, no_mask(there.image), BAD, inverse(image.shape, angle, scale, shift, out_shape))
    inner = np.s_[12:-12, 12:-12]
    assert np.std(back.image[inner] - image[inner]) < 0.015 * np.std(image)


def test_unusable_pixels_never_leak():
    image, mask = noise(3), no_mask(noise(3))
    mask[40:43, 50:52] = BAD
    spoiled = image.copy()
    spoiled[40, 50], spoiled[41, 50], spoiled[42, 51] = 1e30, np.inf, np.nan
    chart = affine(image.shape, 20.0, 1.02, (0.3, 0.4))
    clean, found = warp(image, mask, BAD, chart), warp(spoiled, mask, BAD, chart)
    np.testing.assert_array_equal(clean.image, found.image)
    assert np.isnan(found.image[35:50, 45:60]).sum() >= 6
    x, y = np.array([50.5]), np.array([41.0])
    there = warp(image, mask, BAD, CoarseMap.of(lambda a, b: (a + x - 5, b + y - 5), (11, 11)))
    assert np.isnan(there.image[5, 5])
    assert there.coverage[5, 5] < 0.5
    assert np.isfinite(there.image[0, 0])


def test_a_level_stays_a_level_beside_unusable_pixels():
    image = np.full((90, 113), 7.0, np.float32)
    mask = np.where(noise(4) > 2, BAD, 0).astype(np.uint16)
    found = warp(image, mask, BAD, affine(image.shape, 5.0, 1.05), WarpConfig(largest_lost=0.5)).image
    assert np.isfinite(found).mean() > 0.6
    np.testing.assert_allclose(found[np.isfinite(found)], 7.0 * 1.05**2, rtol=2e-5)


def test_beyond_the_image_there_is_nothing():
    image = noise(5)
    found = warp(image, no_mask(image), BAD, affine(image.shape, shift=(500, 0)))
    assert np.isnan(found.image).all()
    assert not found.coverage.any()
    nowhere = CoarseMap.of(lambda x, y: (x * np.nan, y), image.shape)
    assert np.isnan(warp(image, no_mask(image), BAD, nowhere).image).all()
    tiny = warp(image[:2, :3], no_mask(image[:2, :3]), BAD, affine((2, 3)))
    np.testing.assert_array_equal(tiny.image, image[:2, :3])


def test_noise_of_a_sum_is_what_the_variance_says():
    """Single pixels scatter less than their variance says, weighted sums as it says."""
    sums, expected, single, claimed = [], [], [], []
    for seed in range(60):
        image = noise(1000 + seed, (120, 120)) * 3
        found = warp(image, no_mask(image), BAD, affine(image.shape, 3.0, 1.04, (0.4, 0.3)),
                     variance=np.full(image.shape, 9.0, np.float32))  # fmt: skip
        psf = star((21, 21), 10, 10, 2.5)
        for y in range(12, 90, 22):
            for x in range(12, 90, 22):
                box = np.s_[y : y + 21, x : x + 21]
                sums.append((psf * found.image[box]).sum())
                expected.append((psf**2 * found.variance[box]).sum())
        single.append(np.nanvar(found.image))
        claimed.append(np.nanmean(found.variance))
    assert np.var(sums) == pytest.approx(np.mean(expected), rel=0.12)
    assert 0.6 < np.mean(single) / np.mean(claimed) < 0.85


@settings(max_examples=15)
@given(seeds)
def test_linear_maps_are_kept_and_gaps_bridged(seed):
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:50, :60]
    plane = (3 + 0.2 * column - 0.1 * row).astype(np.float32)
    chart = affine(plane.shape, random.uniform(-10, 10), 1.0, random.uniform(-2, 2, 2))
    found = warp_linear(plane, chart)
    y, x = np.mgrid[:50, :60]
    xs, ys = (v.reshape(50, 60) for v in chart.at(x.ravel().astype(float), y.ravel().astype(float)))
    inner = (xs >= 0) & (xs <= 59) & (ys >= 0) & (ys <= 49)
    np.testing.assert_allclose(found[inner], (3 + 0.2 * xs - 0.1 * ys)[inner], atol=1e-4)
    assert np.isnan(found[(xs < -0.5) | (xs >= 59.5) | (ys < -0.5) | (ys >= 49.5)]).all()
    plane[20, 30] = np.nan
    gap = warp_linear(plane, chart)
    near = (np.abs(xs - 30) < 1) & (np.abs(ys - 20) < 1)
    np.testing.assert_array_equal(gap[~near], found[~near])
    heavy = (1 - np.abs(xs - 30)) * (1 - np.abs(ys - 20)) > 0.501
    assert np.isnan(gap[near & heavy]).all()


def test_a_strip_is_the_same_as_in_the_whole():
    image = noise(6, (150, 140))
    chart = CoarseMap.of(lambda x, y: (x + 2e-4 * y**2, 1.02 * y - 1e-4 * x * y), image.shape, 16)
    whole = warp(image, no_mask(image), BAD, chart, variance=image**2)
    for first, n in ((0, 48), (48, 48), (96, 54)):
        part = warp(image, no_mask(image), BAD, chart.rows(first, n), variance=image**2)
        np.testing.assert_array_equal(part.image, whole.image[first : first + n])
        np.testing.assert_array_equal(part.variance, whole.variance[first : first + n])


def test_buffers_are_used_again():
    image = noise(7)
    buffers = Warped.empty(image.shape, with_variance=True)
    chart = affine(image.shape, 2.0)
    found = warp(image, no_mask(image), BAD, chart, variance=image**2, into=buffers)
    assert found.image is buffers.image
    assert found.variance is buffers.variance
    np.testing.assert_array_equal(found.image, warp(image, no_mask(image), BAD, chart).image)


@pytest.mark.parametrize("step", [8, 32, 64])
def test_the_map_between_nodes(step):
    shape = (333, 401)

    def bent(x, y):
        u, v = x / 400 - 0.5, y / 400 - 0.5
        return 1.01 * x + 5 * u**3 + 2 * u * v, 0.99 * y - 3 * v**2 + u * v**2

    chart = CoarseMap.of(bent, shape, step)
    assert chart.x.shape == node_shape(shape, step)
    x, y = np.random.default_rng(1).uniform(0, [401, 333], (500, 2)).T
    np.testing.assert_allclose(chart.at(x, y), bent(x, y), atol=1e-9)  # cubics are followed exactly
    moved = chart.shifted(0.5, -0.25).at(x, y)
    np.testing.assert_allclose(moved[0] - 0.5, bent(x, y)[0], atol=1e-9)
    small = 1e-4
    j = [(bent(x + dx, y + dy), bent(x - dx, y - dy)) for dx, dy in ((small, 0), (0, small))]
    (xx, yx), (xy, yy) = [((p[0] - m[0]) / (2 * small), (p[1] - m[1]) / (2 * small)) for p, m in j]
    i, k = np.rint(y / step).astype(int), np.rint(x / step).astype(int)
    at = np.hypot(x - k * step, y - i * step) < 2
    np.testing.assert_allclose(chart.area[i, k][at], np.abs(xx * yy - xy * yx)[at], rtol=2e-3)


def test_wrong_input_is_refused():
    image, chart = noise(8), affine((90, 113))
    with pytest.raises(ValueError, match="do not agree"):
        warp(image, np.zeros((3, 3), np.uint16), BAD, chart)
    with pytest.raises(ValueError, match="buffers of"):
        warp(image, no_mask(image), BAD, chart, into=Warped.empty((3, 3)))
    with pytest.raises(ValueError, match="without one for the variance"):
        warp(image, no_mask(image), BAD, chart, variance=image, into=Warped.empty(chart.shape))
    with pytest.raises(ValueError, match="nodes"):
        CoarseMap(chart.x[1:], chart.y[1:], 32, (90, 113))
    with pytest.raises(ValueError, match="rows from 5"):
        chart.rows(5, 20)
