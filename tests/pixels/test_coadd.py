"""A stack is the clipped mean as written down; what does not belong is out, what belongs stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from zsds_tasks.pixels.coadd import Coadd, CoaddConfig, StackNoise, coadd, sorting_network

CONFIG = CoaddConfig()
seeds = st.integers(0, 2**32 - 1)


def directly(frames, sigma, per_flux, weight, config=CONFIG):
    """Write the rules down, pixel by pixel."""
    shape = frames.shape[1:]
    light = np.array([np.sort(v)[max(np.isfinite(v).sum() - 1, 0) // 2] if np.isfinite(v).sum() < 5
                      else np.nanmedian(v) for v in frames.reshape(len(frames), -1).T])  # fmt: skip
    light = maximum_filter(np.nan_to_num(np.maximum(light, 0)).reshape(shape), 5, mode="constant")
    mean, error, kept = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, int)
    for place in np.ndindex(shape):
        v = frames[(slice(None), *place)].astype(float)
        known = np.isfinite(v)
        v, w, n = v[known], weight[known], known.sum()
        if n == 0:
            continue
        few = n < 5
        middle = np.sort(v)[(n - 1) // 2] if few else np.median(v)
        scatter = 0.0 if few else 1.4826 * np.sort(np.abs(v - middle))[n // 2]
        variance = sigma[known] ** 2 + per_flux[known] * max(middle, 0)
        slack = (config.slack_few if few else config.slack) * light[place]
        limit = config.clip_sigma**2 * np.maximum(scatter**2, variance) + slack**2
        good = np.full(n, True) if n < 3 else (v - middle) ** 2 <= limit
        mean[place] = (w * v)[good].sum() / w[good].sum()
        error[place] = np.sqrt((w**2 * variance)[good].sum()) / w[good].sum()
        kept[place] = good.sum()
    return mean, error, kept


@pytest.mark.parametrize("n", [*range(12), 15, 16, 17, 40])
def test_the_network_sorts(n):
    pairs = sorting_network(n)
    random = np.random.default_rng(n)
    values = random.integers(0, 2, (500, n))  # what sorts zeros and ones sorts everything
    if n < 12:
        values = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    for low, high in pairs:
        both = values[:, [low, high]]
        values[:, low], values[:, high] = both.min(axis=1), both.max(axis=1)
    assert (np.diff(values, axis=1) >= 0).all()


@settings(max_examples=15)
@given(seeds, st.integers(1, 21))
def test_it_is_the_mean_as_written_down(seed, n):
    random = np.random.default_rng(seed)
    sigma, per_flux, weight = random.uniform(1, 3, n), random.uniform(0, 0.3, n), random.uniform(0.2, 5, n)
    sky = random.exponential(20, (3, 40)) - 3
    frames = (sky + sigma[:, None, None] * random.normal(size=(n, 3, 40))).astype(np.float32)
    frames[random.random(frames.shape) < 0.03] += 60
    frames[random.random(frames.shape) < random.choice([0, 0.1, 0.8])] = np.nan
    found = coadd(frames, StackNoise.constant(sigma, per_flux=per_flux, weight=weight))
    mean, error, kept = directly(frames, sigma, per_flux, weight)
    same = found.coverage == kept
    assert same.mean() > 0.98  # rounding may decide about a sample at the limit
    np.testing.assert_allclose(found.mean[same], mean[same], atol=2e-4)
    np.testing.assert_allclose(found.uncertainty[same], error[same], rtol=1e-5)
    assert found.coverage.dtype == np.int16


def test_wide_images_and_strips_are_the_same():
    random = np.random.default_rng(5)
    frames = (random.normal(size=(7, 70, 1100)) + random.exponential(9, (70, 1100))).astype(np.float32)
    frames[random.random(frames.shape) < 0.05] = np.nan
    nodes = random.uniform(1, 2, (7, 4, 36)).astype(np.float32)
    noise = StackNoise(nodes, 32.0, np.zeros(7, np.float32), np.ones(7, np.float32))
    whole = coadd(frames, noise)
    parts = Coadd.empty((70, 1100))
    for first, last in ((0, 30), (30, 31), (31, 70)):
        low, high = max(0, first - 2), min(70, last + 2)
        margin = first - low, high - last
        into = parts.rows(first, last - first)
        coadd(frames[:, low:high], noise, first_row=first, margin=margin, into=into)
    for name in ("mean", "uncertainty", "coverage"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    mirrored = coadd(frames[::-1], StackNoise(nodes[::-1], 32.0, noise.per_flux, noise.weight))
    np.testing.assert_allclose(mirrored.mean, whole.mean, atol=1e-5)


def test_the_noise_of_nodes_is_where_it_belongs():
    frames = np.zeros((1, 65, 2049), np.float32)
    row, column = np.mgrid[:4, :66]
    nodes = (1 + 0.1 * row + 0.01 * column)[None].astype(np.float32)
    one = np.ones(1, np.float32)
    found = coadd(frames, StackNoise(nodes, 32.0, 0 * one, one)).uncertainty
    y, x = np.mgrid[:65, :2049]
    np.testing.assert_allclose(found, 1 + 0.1 * y / 32 + 0.01 * x / 32, atol=0.1)  # one value for 512 pixels
    np.testing.assert_allclose(found[:, 256], 1 + 0.1 * np.arange(65) / 32 + 0.08, atol=1e-4)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 15])
@pytest.mark.parametrize("seed", [31, 32])
def test_what_is_in_one_image_only_is_out(n, seed):
    """Tracks, cosmic rays and asteroids: one wild sample leaves the mean where it would be without it."""
    random = np.random.default_rng(seed)
    clean = random.normal(size=(n, 50, 60)).astype(np.float32)
    wild = clean.copy()
    where = random.integers(0, n, (50, 60))
    wild[where, *np.mgrid[:50, :60]] = 10 ** random.uniform(1.5, 5, (50, 60))
    found = coadd(wild, StackNoise.constant(np.ones(n)))
    without = clean.copy()
    without[where, *np.mgrid[:50, :60]] = np.nan
    truth = np.nanmean(without, axis=0)
    assert (found.coverage < n).mean() > 0.999
    assert np.mean(np.abs(found.mean - truth) < 0.01) > 0.85
    assert np.max(np.abs(found.mean - truth)) < 3.5


@pytest.mark.parametrize("n", [5, 15, 40])
def test_little_is_lost_of_what_belongs_and_the_error_is_right(n):
    random = np.random.default_rng(40 + n)
    sigma = random.uniform(1, 2, n)
    frames = (sigma[:, None, None] * random.normal(size=(n, 120, 150))).astype(np.float32)
    found = coadd(frames, StackNoise.constant(sigma))
    assert found.coverage.mean() > 0.997 * n
    assert np.std(found.mean / found.uncertainty) == pytest.approx(1, abs=0.03)
    assert found.uncertainty.mean() == pytest.approx((sigma**-2.0).sum() ** -0.5, rel=0.01)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 15])
@pytest.mark.parametrize("flux", [300.0, 1e4, 1e6])
def test_light_of_stars_is_kept_in_changing_seeing(n, flux):
    """The mean of a star is the mean PSF times the mean flux: clipping takes nothing from cores and wings."""
    random = np.random.default_rng(50 + n)
    row, column = np.mgrid[:41, :41] - 20
    ratio = []
    for _ in range(20):
        sigma = random.uniform(1.8, 2.8, n)[:, None, None] / 2.3548
        light = flux * np.exp(-(row**2 + column**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        noise = np.sqrt(9 + light / 6) * random.normal(size=light.shape)
        frames = (light + noise).astype(np.float32)
        found = coadd(frames, StackNoise.constant(np.full(n, 3.0), per_flux=np.full(n, 1 / 6)))
        near = np.hypot(row, column) < 12
        ratio.append(found.mean[near].sum() / frames.mean(axis=0)[near].sum())
    assert np.mean(ratio) == pytest.approx(1, abs=0.002 if flux > 1000 else 0.02)


def test_samples_without_a_number_count_nothing():
    frames = np.full((4, 3, 5), np.nan, np.float32)
    frames[1, 0, 0], frames[:2, 0, 1] = 7.0, [3.0, 1000.0]
    found = coadd(frames, StackNoise.constant(np.ones(4)))
    assert found.coverage.tolist()[0] == [1, 2, 0, 0, 0]
    assert found.mean[0, 0] == 7.0
    assert found.mean[0, 1] == pytest.approx(501.5)  # nothing says which of two is wrong
    assert np.isnan(found.mean[1:]).all()
    assert np.isnan(found.uncertainty[0, 2])


def test_wrong_input_is_refused():
    frames = np.zeros((3, 4, 5), np.float32)
    with pytest.raises(ValueError, match="can be stacked"):
        coadd(np.zeros((0, 4, 5), np.float32), StackNoise.constant(np.ones(3)))
    with pytest.raises(ValueError, match="noise of 2"):
        coadd(frames, StackNoise.constant(np.ones(2)))
    with pytest.raises(ValueError, match="arrays of"):
        coadd(frames, StackNoise.constant(np.ones(3)), into=Coadd.empty((5, 5)))
    with pytest.raises(ValueError, match="margins of"):
        coadd(frames, StackNoise.constant(np.ones(3)), margin=(2, 2))
    with pytest.raises(ValueError, match="are positive"):
        StackNoise.constant(np.array([1.0, 0.0]), weight=np.ones(2))
    with pytest.raises(ValueError, match="gains"):
        StackNoise.constant(np.ones(2), per_flux=np.zeros(3))
