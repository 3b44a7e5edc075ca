"""Masters from frames whose every part is known: overscan, stacking, smoothing, bias, flat, bad pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from zsds_tasks.products.masks import MaskBit, decode
from zsds_tasks.science.calibration.acceptance import AcceptanceConfig, judge_frame, judge_mask
from zsds_tasks.science.calibration.badpixels import BadPixelConfig, column_excess, flag_bad_pixels
from zsds_tasks.science.calibration.detrend import detrend
from zsds_tasks.science.calibration.masters import (
    BiasConfig,
    ChannelFacts,
    FlatConfig,
    Readout,
    build_bias,
    build_flat,
    spread_frames,
)
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.calibration.robust import robust_sigma
from zsds_tasks.science.calibration.smooth import SmoothConfig, Smoother
from zsds_tasks.science.calibration.stacking import clipped_mean

NY, NX, GAIN, NOISE = 130, 151, 6.0, 1.6
LINEARITY = (-7e-12, 2e-7)
CHANNEL = ChannelFacts(read_x=-1, gain=GAIN, saturation=58000.0, linearity=LINEARITY)
OVERSCAN = OverscanConfig()
SMALL_FLAT = FlatConfig(smooth=SmoothConfig(scale_px=60.0, cell_px=16))


def counts(values):
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)


def drift(rng, ny=NY):
    terms = np.concatenate([[1800.0 + rng.normal(0, 2)], rng.normal(0, 2, 3)])
    return legendre.legval(np.linspace(-1, 1, ny), terms)


def readout(rng, name, bias, light=None, led=0):
    """Return a frame of light (DN, true), read with drift, bias, noise, non-linearity and a deferred tail."""
    level = drift(rng)
    image = (
        np.zeros((NY, NX)) if light is None else light + rng.normal(0, 1, (NY, NX)) * np.sqrt(light / GAIN)
    )
    a, b = LINEARITY
    # x such that x / (a x^2 + b x + 1) = image
    x = 2 * image / (1 - b * image + np.sqrt((1 - b * image) ** 2 - 4 * a * image**2))
    raw = x + bias + level[:, None] + rng.normal(0, NOISE, (NY, NX))
    strip = level[:, None] + rng.normal(0, NOISE, (NY, 30))
    strip += 40 * np.exp(-np.arange(30) / 2.5)
    return Readout(name, counts(raw), counts(strip)[:, ::-1].copy(), led)


@pytest.fixture(scope="module")
def detector():
    rng = np.random.default_rng(8)
    response = rng.normal(1, 0.007, (NY, NX)).astype(np.float32)
    bias = rng.normal(0, 0.8, NX) + 10 * np.exp(-np.arange(NY) / 30)[:, None]
    response[10, 12], response[20, 22], response[30, 32] = 0.02, 0.4, 1.6
    response[60:, 100] = 0.3
    bias[50, 52] += 30  # hot
    return response, bias


@pytest.fixture(scope="module")
def bias_frames(detector):
    rng = np.random.default_rng(9)
    frames = [readout(rng, f"{n}", detector[1]) for n in range(10)]
    frames[2].image[70, 71] += 900  # a cosmic ray
    return frames


@pytest.fixture(scope="module")
def bias(bias_frames):
    return build_bias(bias_frames, CHANNEL, OVERSCAN, BiasConfig())


@pytest.fixture(scope="module")
def flat_frames(detector):
    rng = np.random.default_rng(10)
    y, x = np.mgrid[-1 : 1 : NY * 1j, -1 : 1 : NX * 1j]
    frames = []
    for number in range(9):
        led = number % 3
        screen = (1 + 0.02 * led * x - 0.03 * y * x) * (25000 if number < 6 else 6000)
        frames.append(readout(rng, f"{number}", detector[1], screen * detector[0], led=7 + led))
    frames[4].image[90, 91] += 8000
    return frames


@pytest.fixture(scope="module")
def flat(flat_frames, bias):
    return build_flat(flat_frames, CHANNEL, bias.image, OVERSCAN, SMALL_FLAT)


@pytest.mark.parametrize("read_x", [1, -1])
def test_overscan_follows_the_drift_and_not_the_deferred_tail(read_x):
    rng = np.random.default_rng(2)
    level = drift(rng, 770)
    strip = level[:, None] + rng.normal(0, NOISE, (770, 30)) + 500 * np.exp(-np.arange(30) / 2.5)
    strip[300:303] += 200  # broken rows
    found = fit_overscan(counts(strip)[:, ::read_x].copy(), read_x, OVERSCAN)
    assert np.abs(found.level - level).max() < 0.25
    assert found.noise == pytest.approx(NOISE, rel=0.05)
    assert found.drift == pytest.approx(np.ptp(level), abs=0.4)


def test_an_overscan_without_columns_or_rows_is_refused():
    for shape in ((100, 1), (3, 30), (0, 30)):
        with pytest.raises(ValueError, match="overscan columns cannot give a level"):
            fit_overscan(np.zeros(shape, np.uint16), 1, OVERSCAN)


@given(st.floats(0, 60000), st.floats(-2e-11, 0), st.floats(0, 1e-6))
@settings(max_examples=40)
def test_detrending_is_its_formula(x, a, b):
    raw = np.full((2, 3), round(x), np.uint16)
    level = np.array([10.0, 20.0], np.float32)
    bias, flat = np.full((2, 3), 2.0, np.float32), np.full((2, 3), 0.5, np.float32)
    found = detrend(raw, level, linearity=(a, b), bias=bias, flat=flat)
    over = raw.astype(float) - level[:, None]
    assert np.allclose(found, (over / (a * over**2 + b * over + 1) - 2) / 0.5, rtol=1e-5, atol=0.02)


def test_detrending_marks_saturation_and_refuses_other_shapes():
    raw = np.array([[100, 60000]], np.uint16)
    level = np.zeros(1, np.float32)
    assert np.isnan(detrend(raw, level, saturation=58000.0)).tolist() == [[False, True]]
    with pytest.raises(ValueError, match=r"bias of \(2, 2\) pixels"):
        detrend(raw, level, bias=np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="levels of"):
        detrend(raw, np.zeros(3, np.float32))


def test_a_clean_stack_is_the_plain_mean_and_a_hit_changes_nothing():
    frames = np.random.default_rng(3).normal(5, 2, (12, 40, 41)).astype(np.float32)
    plain = clipped_mean(frames, np.full(12, 2.0), clip_sigma=1e6)
    assert np.allclose(plain.mean, frames.mean(axis=0), atol=1e-5)
    assert np.allclose(plain.uncertainty, frames.std(axis=0, ddof=1) / np.sqrt(12), rtol=1e-4)
    assert np.median(plain.excess) == pytest.approx(1, abs=0.1)
    assert (plain.kept == 12).all()
    hit = frames.copy()
    hit[5, 7, 8], hit[2, 9, 9] = 4000, np.nan
    found = clipped_mean(hit, np.full(12, 2.0))
    assert found.kept[7, 8] <= 11
    assert abs(found.mean[7, 8] - 5) < 2
    assert found.mean[9, 9] == pytest.approx(np.delete(frames[:, 9, 9], 2).mean(), abs=1.5)


@given(st.permutations(range(7)), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_the_order_of_frames_does_not_matter(order, seed):
    rng = np.random.default_rng(seed)
    frames = rng.standard_t(2, (7, 5, 6)).astype(np.float32)
    sigma, weight = rng.uniform(0.5, 2, 7), rng.uniform(0.5, 2, 7)
    order = list(order)
    one = clipped_mean(frames, sigma, weight=weight)
    two = clipped_mean(frames[order], sigma[order], weight=weight[order])
    assert np.allclose(one.mean, two.mean, atol=1e-5)
    assert np.array_equal(one.kept, two.kept)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_the_excess_is_numpys_mad(n, seed):
    frames = np.random.default_rng(seed).normal(0, 1, (n, 3, 4)).astype(np.float32)
    found = clipped_mean(frames, np.ones(n)).excess
    mad = np.median(np.abs(frames - np.median(frames, axis=0)), axis=0)
    assert np.allclose(found, 1.4826 * mad, atol=1e-5)


def test_stacks_of_nothing():
    nothing = clipped_mean(np.full((3, 2, 2), np.nan, np.float32), np.ones(3))
    assert np.isnan(nothing.mean).all()
    assert not nothing.kept.any()
    one = clipped_mean(np.ones((1, 2, 2), np.float32), np.ones(1))
    assert np.isnan(one.uncertainty).all()
    with pytest.raises(ValueError, match="0 frames; 1 to 255"):
        clipped_mean(np.zeros((0, 2, 2), np.float32), np.ones(0))
    with pytest.raises(ValueError, match="positive noises"):
        clipped_mean(np.zeros((2, 2, 2), np.float32), np.array([1.0, 0.0]))


def test_smoothing_keeps_polynomials_and_ignores_defects():
    y, x = np.mgrid[-1:1:200j, -1:1:300j]
    surface = (1000 * (1 + 0.1 * x - 0.2 * y * x + 0.05 * y**3)).astype(np.float32)
    smoother = Smoother(surface.shape, SmoothConfig(scale_px=100, cell_px=25))
    spoilt = surface.copy()
    spoilt[::9, ::7] = np.nan
    spoilt[50:60, 80] = 0
    # Of slopes of 30 per cent a missing pixel moves the medians by a tenth of a per cent or two.
    assert np.abs(smoother.smooth(smoother.cells(spoilt)) / surface - 1).max() < 3e-3
    with pytest.raises(ValueError, match="only 0 of 96 cells"):
        smoother.smooth(np.full((8, 12), np.nan))


def test_the_bias_is_the_planted_one_with_an_honest_uncertainty(bias, detector):
    assert len(bias.used) == 10
    assert bias.rejected == ()
    residual = bias.image - detector[1]
    assert robust_sigma(residual) == pytest.approx(np.hypot(NOISE, 0.29) / np.sqrt(10), rel=0.1)
    assert robust_sigma(residual / bias.uncertainty) == pytest.approx(1.05, abs=0.1)
    assert abs(residual[70, 71]) < 4 * bias.noise * 1.5


def test_a_bias_frame_off_the_set_is_out_with_its_reason(bias_frames):
    off = [*bias_frames[:9], Readout("off", bias_frames[9].image + np.uint16(4), bias_frames[9].overscan)]
    found = build_bias(off, CHANNEL, OVERSCAN, BiasConfig())
    assert found.used == tuple(r.name for r in bias_frames[:9])
    ((name, reason),) = found.rejected
    assert name == "off"
    assert "DN from the set's, 1 are allowed" in reason


def test_no_frames_no_master():
    assert build_bias([], CHANNEL, OVERSCAN, BiasConfig()) is None
    assert build_flat([], CHANNEL, np.zeros((NY, NX), np.float32), OVERSCAN, SMALL_FLAT) is None


@given(st.lists(st.integers(1, 4), max_size=30), st.integers(1, 20))
def test_frames_are_taken_evenly_from_all_lamps(leds, count):
    chosen = spread_frames(leds, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(leds))
    taken = {led: [leds[place] for place in chosen].count(led) for led in leds}
    for led, n in taken.items():
        assert n == leds.count(led) or n >= max(taken.values()) - 1


def test_the_flat_is_the_pixel_response_whatever_the_lamps(flat, detector):
    response = detector[0]
    good = (response > 0.9) & (response < 1.1)
    ratio = np.where(good, flat.image / response, np.nan).astype(np.float32)
    assert len(flat.used) == 9
    assert robust_sigma(ratio) < 1.25 * flat.noise
    assert np.nanmedian(flat.image) == pytest.approx(1, abs=1e-4)
    assert abs(flat.image[90, 91] / response[90, 91] - 1) < 6 * flat.noise


def test_led_weights_decide_what_lamps_disagree_on(detector):
    rng = np.random.default_rng(21)
    frames = []
    for number in range(8):
        light = 25000 * detector[0].copy()
        if number % 2:
            light[100, 40] *= 1.03  # this pixel sees one lamp's colour better
        frames.append(readout(rng, f"{number}", detector[1], light, led=7 + number % 2))
    level = detector[1].astype(np.float32)
    found = [
        build_flat(
            frames, CHANNEL, level, OVERSCAN,
            FlatConfig(smooth=SMALL_FLAT.smooth, led_weights={8: weight}, clip_sigma=20.0),
        ).image[100, 40] / detector[0][100, 40]
        for weight in (1.0, 1e-6, 1e6)
    ]  # fmt: skip
    assert found == pytest.approx([1.015, 1.0, 1.03], abs=0.006)


def test_flats_too_faint_or_too_bright_are_out(flat_frames, bias):
    config = SMALL_FLAT.model_copy(update={"min_level_dn": 10000.0})
    found = build_flat(flat_frames, CHANNEL, bias.image, OVERSCAN, config)
    assert len(found.used) == 6
    assert "10000 to 45000 are used" in found.rejected[0][1]
    dark = [Readout("dark", r.image // 50, r.overscan // 50) for r in flat_frames]
    assert build_flat(dark, CHANNEL, bias.image, OVERSCAN, SMALL_FLAT) is None


def test_every_defect_has_its_bit_and_nothing_else_has_one(bias, flat, detector):
    mask = flag_bad_pixels(bias, [flat], BadPixelConfig())
    assert decode(int(mask[10, 12])) == (MaskBit.DEAD,)
    assert decode(int(mask[20, 22])) == (MaskBit.LOW_RESPONSE,)
    assert decode(int(mask[30, 32])) == (MaskBit.HIGH_RESPONSE,)
    assert decode(int(mask[50, 52])) == (MaskBit.NOISY,)
    assert (mask[60:, 100] == MaskBit.LOW_RESPONSE.flag).all()
    assert np.count_nonzero(mask) == 4 + NY - 60


def test_stuck_noisy_and_numberless_pixels(bias_frames, flat_frames, detector):
    rng = np.random.default_rng(1)
    flats = [Readout(r.name, r.image.copy(), r.overscan, r.led) for r in flat_frames]
    biases = [Readout(r.name, r.image.copy(), r.overscan) for r in bias_frames]
    for frame in flats:
        frame.image[5, 6] = 21000  # stuck
        frame.image[7, 8] = 65535
    for frame in biases:
        frame.image[9, 10] += np.uint16(rng.integers(0, 60))
    bias = build_bias(biases, CHANNEL, OVERSCAN, BiasConfig())
    flat = build_flat(flats, CHANNEL, bias.image, OVERSCAN, SMALL_FLAT)
    mask = flag_bad_pixels(bias, [flat], BadPixelConfig())
    assert MaskBit.DEAD in decode(int(mask[5, 6]))
    assert MaskBit.NAN in decode(int(mask[7, 8]))
    assert MaskBit.NOISY in decode(int(mask[9, 10]))


def test_a_pattern_of_columns_is_no_excess():
    image = np.tile(np.random.default_rng(0).normal(0, 50, 9).astype(np.float32), (12, 1))
    image[4, 4] += 7
    expected = np.zeros((12, 9), np.float32)
    expected[4, 4] = 7
    assert np.allclose(column_excess(image), expected, atol=1e-4)
    assert np.isnan(column_excess(np.ones((1, 3), np.float32))).all()


def test_verdicts_count_measure_and_compare(bias):
    limits = AcceptanceConfig().bias
    assert judge_frame(None, limits).reason == "too few frames: none of the 7 needed"
    assert judge_frame(bias, limits).reason == "first of its kind"
    same = judge_frame(bias, limits, (bias.image, bias.uncertainty))
    assert (same.accepted, same.reason, same.offset, same.change) == (True, "as the last one", 0.0, 0.0)
    strict = limits.model_copy(update={"min_frames": 12, "max_noise": 0.1})
    assert judge_frame(bias, strict).reason.startswith("too few frames: 10 of the 12 needed; noise: unc")
    moved = judge_frame(bias, limits, (bias.image + np.float32(2), bias.uncertainty))
    assert not moved.accepted
    assert moved.reason == "change: median -2 since the last, 1 allowed"
    other = bias.image + np.random.default_rng(0).normal(0, 3, bias.image.shape).astype(np.float32)
    assert "change: scatter" in judge_frame(bias, limits, (other, bias.uncertainty)).reason


def test_masks_are_judged_by_their_unusable_pixels():
    limits, mask = AcceptanceConfig().mask, np.zeros((100, 100), np.uint16)
    assert judge_mask(mask, limits).reason == "first of its kind"
    mask[:3] = MaskBit.DETECTION.flag  # no defect
    assert judge_mask(mask, limits, np.zeros_like(mask)).change == 0
    mask[:3] = MaskBit.DEAD.flag
    assert "3.000% of the pixels since the last" in judge_mask(mask, limits, np.zeros_like(mask)).reason
    mask[:9] = MaskBit.DEAD.flag
    assert "bad pixels: 9.000%, 5.000% allowed" in judge_mask(mask, limits).reason
