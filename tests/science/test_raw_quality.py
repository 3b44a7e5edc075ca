"""Quick-look measures recover what was put into a frame."""

import numpy as np
import pytest

from zsds_tasks.science.quality.raw import QuickLookConfig, measure

CONFIG = QuickLookConfig()
GAIN, BIAS, SKY, READ_NOISE = 6.2, 1012.3, 130.4, 10.0


def frame(seed=5, shape=(301, 311), sky=SKY):
    random = np.random.default_rng(seed)
    noise = READ_NOISE / GAIN
    image = random.normal(BIAS + sky, np.sqrt(sky / GAIN + noise**2), shape)
    overscan = random.normal(BIAS, noise, (shape[0], 30))
    return image, overscan


def rounded(pixels):
    return np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)


def test_levels_and_noises():
    image, overscan = frame()
    found = measure(rounded(image), rounded(overscan), 1, GAIN, 58000, CONFIG)
    assert found.bias_level == pytest.approx(BIAS, abs=0.15)
    assert found.level == pytest.approx(SKY, abs=0.2)
    assert found.read_noise == pytest.approx(READ_NOISE, rel=0.06)
    assert found.overscan_noise == pytest.approx(READ_NOISE / GAIN, rel=0.06)
    assert found.noise == pytest.approx(np.sqrt(SKY / GAIN + (READ_NOISE / GAIN) ** 2), rel=0.02)
    assert found.gradient < 0.6
    assert found.bias_drift < 1.0
    assert (found.saturated_fraction, found.zero_fraction) == (0.0, 0.0)
    assert found.bright_fraction < 1e-4


@pytest.mark.parametrize("read_x", [1, -1])
def test_deferred_charge_is_left_out_in_reading_order(read_x):
    image, overscan = frame()
    tail = 200.0 * np.exp(-np.arange(30) / 2.0)
    shifted = (overscan + tail)[:, ::read_x]
    found = measure(rounded(image), rounded(shifted), read_x, GAIN, 58000, CONFIG)
    assert found.bias_level == pytest.approx(BIAS, abs=0.15)
    mirrored = measure(rounded(image), rounded(shifted), -read_x, GAIN, 58000, CONFIG)
    assert mirrored.bias_level > BIAS + 1


def test_drift_and_gradient():
    image, overscan = frame()
    ramp = np.linspace(0, 32, image.shape[0])[:, None]
    found = measure(rounded(image), rounded(overscan + ramp), 1, GAIN, 58000, CONFIG)
    assert found.bias_drift == pytest.approx(32 * 15 / 16, rel=0.05)
    slope = np.linspace(0, 80, image.shape[1])
    found = measure(rounded(image + slope), rounded(overscan), 1, GAIN, 58000, CONFIG)
    assert found.gradient == pytest.approx(60, rel=0.05)
    assert found.noise == pytest.approx(np.sqrt(SKY / GAIN + (READ_NOISE / GAIN) ** 2), rel=0.02)


def test_fractions():
    image, overscan = frame(shape=(100, 200))
    image[:10, :50] = 60000
    image[20:30, :20] = 0
    image[40:50, :20] += 500
    found = measure(rounded(image), rounded(overscan), 1, GAIN, 58000, CONFIG)
    assert found.saturated_fraction == pytest.approx(500 / 20000)
    assert found.zero_fraction == pytest.approx(200 / 20000)
    assert found.bright_fraction == pytest.approx(700 / 20000, abs=1e-4)


def test_extremes_stay_inside_the_declared_ranges():
    for value in (0, 65535):
        flat = np.full((41, 37), value, np.uint16)
        found = measure(flat, flat[:, :11].copy(), -1, GAIN, 58000, CONFIG)
        assert 0 <= found.bias_level <= 65535
        assert -65535 <= found.level <= 65535
        assert (found.noise, found.gradient) == (0.0, 0.0)
    tiny = np.array([[7, 9]], np.uint16)
    assert np.isfinite(measure(tiny, tiny, 1, GAIN, 58000, CONFIG).level)


def test_nothing_to_measure_is_said():
    image, overscan = frame(shape=(10, 12))
    with pytest.raises(ValueError, match="nothing to measure"):
        measure(rounded(image)[:0], rounded(overscan), 1, GAIN, 58000, CONFIG)
    with pytest.raises(ValueError, match="nothing to measure"):
        measure(rounded(image), rounded(overscan)[:, :1], 1, GAIN, 58000, CONFIG)
