"""Linearity, shutter and lamps from flats whose light, curve and shutter are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.calibration.acceptance import MapLimits, judge_map
from zsds_tasks.science.calibration.lampcells import (
    LampCells,
    LampConfig,
    cell_areas,
    cell_centres,
    cell_means,
    measure_lamps,
)
from zsds_tasks.science.calibration.ledweights import mix_lamps
from zsds_tasks.science.calibration.linearity import (
    CurveFit,
    LinearityConfig,
    choose_curve,
    curve_difference,
    true_over_raw,
)
from zsds_tasks.science.calibration.masters import ChannelFacts, Readout
from zsds_tasks.science.calibration.overscan import OverscanConfig
from zsds_tasks.science.calibration.ramps import ChannelRamp, RampConfig, fit_ramps, timed_lamps
from zsds_tasks.science.calibration.shutter import mesh_nodes, smooth_response

SATURATION = 58000.0
DELAY, SLOPE = 0.008, 0.006
CURVES = [(-6.3e-12, 6.9e-8), (-7.4e-12, 2.2e-7), (-8.2e-12, 2.7e-7), (-5.1e-12, 4.4e-8)]
TABLE_CURVE = (-6.9e-12, 1.9e-7)  # what is configured for every channel
LEDS = (2, 3, 4, 5, 7, 8, 9, 10)


def raw_of(light, a, b):
    """The x that obeys light = x / (a x^2 + b x + 1)."""
    s = 1 - b * light
    return 2 * light / (s + np.sqrt(s * s - 4 * a * light**2))


def ramps(seed, times=(10.0, 10.0, 2.5), leds=LEDS, spread=0.15, relative=1.5e-5, flicker=0.0, curves=CURVES):
    """Flats of some channels in 5 x 6 cells, measured to `relative` at 25,000 DN, with lamps that flicker."""
    rng = np.random.default_rng(seed)
    strength = {led: rng.uniform(1 - spread, 1 + spread) for led in leds}
    steady = {(led, n): 1 + flicker * rng.normal() for led in leds for n in range(len(times))}
    found = {}
    for rcid, curve in enumerate(curves):
        v, u = np.meshgrid(np.linspace(-0.6, 0.6, 5), np.linspace(-0.9, 0.0, 6), indexing="ij")
        u = u + 0.9 * (rcid % 2)
        falloff = 1 - 0.05 * (u * u + v * v) - 0.05 * (u * u + v * v) ** 2
        mean, error, led_of, exptime = [], [], [], []
        for led in leds:
            pattern = strength[led] * falloff * (1 + rng.normal(0, 0.02) * u)
            for n, t in enumerate(times):
                light = 2500.0 * pattern * (t + DELAY + SLOPE * v) * steady[led, n]
                x = raw_of(light, *curve)
                sigma = relative * np.sqrt(25000.0 * x) / true_over_raw(x, *curve)
                mean.append(x + sigma * rng.normal(size=x.shape))
                error.append(sigma)
                led_of.append(led)
                exptime.append(t)
        names = tuple(str(n) for n in range(len(mean)))
        cells = LampCells(names, np.array(led_of), np.array(exptime), np.array(mean), np.array(error))
        found[rcid] = ChannelRamp(cells, u, v, TABLE_CURVE)
    return found


def truth(ramp):
    return DELAY + SLOPE * ramp.v


@given(
    st.integers(3, 60), st.integers(3, 60), st.integers(8, 25), st.integers(0, 2**32 - 1), st.floats(0, 0.3)
)
@settings(max_examples=30)
def test_cell_means_are_the_slow_clipped_ones(ny, nx, cell, seed, holes):
    rng = np.random.default_rng(seed)
    image = rng.normal(20000, 100, (ny, nx)).astype(np.float32)
    image[rng.random((ny, nx)) < 0.02] = 60000
    image[rng.random((ny, nx)) < holes] = np.nan
    mean, good = cell_means(image, cell, 5.0)
    assert mean.shape == (-(-ny // cell), -(-nx // cell))
    for i in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            block = image[i * cell : (i + 1) * cell, j * cell : (j + 1) * cell].astype(np.float64)
            sample = block[::5, ::5][np.isfinite(block[::5, ::5])]
            sample = block[np.isfinite(block)] if sample.size < 100 else sample
            middle = np.median(sample) if sample.size else np.nan
            limit = 5 * 1.4826 * np.median(np.abs(sample - middle)) if sample.size else 0
            kept = np.abs(block - middle) <= limit
            assert good[i, j] == np.count_nonzero(kept)
            if kept.any():
                assert mean[i, j] == pytest.approx(block[kept].mean(), rel=1e-9)
            else:
                assert np.isnan(mean[i, j])
    assert cell_areas((ny, nx), cell).sum() == ny * nx


def test_flats_are_measured_over_bias_and_level_and_bad_cells_have_no_number():
    rng = np.random.default_rng(4)
    ny, nx, gain, noise = 100, 130, 6.0, 1.6
    bias = rng.normal(0, 3, (ny, nx)).astype(np.float32)
    light = 20000 * (1 + 0.1 * np.linspace(-1, 1, nx)) * np.ones((ny, 1))
    raw = 1800 + bias + light + rng.normal(0, np.sqrt(light / gain), (ny, nx))
    raw[:64, :32] = 60000  # saturated
    strip = rng.normal(1800, noise, (ny, 30))
    readout = Readout("7", *(np.rint(a).astype(np.uint16) for a in (raw, strip)), led=8)
    facts = ChannelFacts(1, gain, SATURATION, TABLE_CURVE)
    config = LampConfig(cell_px=32)
    cells = measure_lamps([(readout, 10.0)], facts, bias, OverscanConfig(), config)
    assert (cells.names, cells.led.tolist(), cells.exptime.tolist()) == (("7",), [8], [10.0])
    x, _ = cell_centres((ny, nx), 32)
    expected = 20000 * (1 + 0.1 * (2 * x / (nx - 1) - 1))
    assert np.isnan(cells.mean[0, :2, 0]).all()
    pull = ((cells.mean[0] - expected) / np.hypot(cells.error[0], 0.3))[2:]
    assert np.abs(pull).max() < 4.5
    assert measure_lamps([], facts, bias, OverscanConfig(), config).mean.shape == (0, 4, 5)


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_shutter_and_curves_come_apart_to_their_errors(seed):
    found = ramps(seed)
    fit = fit_ramps(found, RampConfig())
    assert fit.lamps == LEDS
    for rcid, ramp in found.items():
        value, error = fit.shutter(ramp.u, ramp.v)
        assert np.abs((value - truth(ramp)) / error).max() < 4
        assert error.max() < 0.0015
        curve = fit.curves[rcid]
        known = curve.error(SATURATION)
        assert curve_difference((curve.a, curve.b), CURVES[rcid], SATURATION) < 4 * known
        assert known < 1e-3
        choice = choose_curve(curve, TABLE_CURVE, SATURATION, LinearityConfig())
        assert (choice.choice, choice.a, choice.b) == ("fitted", curve.a, curve.b)
        assert choice.reason.startswith("known to")


def test_errors_are_honest_over_many_nights():
    pulls = []
    for seed in range(40, 64):
        found = ramps(seed, flicker=2e-5)
        fit = fit_ramps(found, RampConfig())
        value, error = fit.shutter(found[0].u, found[0].v)
        pulls.append(((value - truth(found[0])) / error)[2, 3])
    assert 0.5 < np.std(pulls) < 1.5
    assert np.abs(pulls).max() < 4


def test_flickering_lamps_are_seen_in_the_errors():
    quiet, loud = (
        fit_ramps(found, RampConfig()).shutter(found[0].u, found[0].v)[1].max()
        for found in (ramps(7), ramps(7, flicker=1e-3))
    )
    assert loud > 5 * quiet


def test_another_exposure_time_tells_more():
    two, three = (
        fit_ramps(ramps(8, times=times), RampConfig()).curves[1].error(SATURATION)
        for times in ((10.0, 10.0, 2.5), (20.0, 10.0, 2.5))
    )
    assert three < two / 2


def test_lamps_of_one_strength_leave_the_configured_curve():
    rng = np.random.default_rng(1)
    flat = {0: ramps(9, spread=0.0, curves=CURVES[:1])[0]}
    cells = flat[0].cells
    even = np.broadcast_to(cells.mean.mean(axis=(1, 2), keepdims=True), cells.mean.shape)
    even = even + cells.error * rng.normal(size=even.shape)
    same = LampCells(cells.names, cells.led, cells.exptime, even, cells.error)
    fit = fit_ramps({0: ChannelRamp(same, flat[0].u, flat[0].v, TABLE_CURVE)}, RampConfig())
    choice = choose_curve(fit.curves[0], TABLE_CURVE, SATURATION, LinearityConfig())
    assert (choice.choice, choice.a, choice.b) == ("configured", *TABLE_CURVE)
    assert "too uncertain" in choice.reason


def test_cells_without_a_number_are_left_out():
    found = ramps(10)
    cells = found[2].cells
    cells.mean[:, :3] = np.nan
    cells.mean[5] = np.nan
    fit = fit_ramps(found, RampConfig())
    value, error = fit.shutter(found[2].u, found[2].v)
    assert np.abs((value - truth(found[2])) / error).max() < 4
    assert np.isfinite(fit.curves[2].error(SATURATION))


def test_too_few_lamps_with_two_times_are_refused():
    with pytest.raises(UnusableInputError, match="0 lamps with two exposure times, 4 are needed"):
        fit_ramps(ramps(1, times=(10.0, 10.0)), RampConfig())
    with pytest.raises(UnusableInputError, match="3 lamps"):
        fit_ramps(ramps(1, leds=LEDS[:3]), RampConfig())
    with pytest.raises(UnusableInputError, match="0 lamps"):
        fit_ramps({}, RampConfig())
    assert timed_lamps(ramps(1)[0].cells) == LEDS


def test_a_curve_without_a_fit_or_far_off_stays_configured():
    config = LinearityConfig()
    none = choose_curve(None, TABLE_CURVE, SATURATION, config, why_none="no flats")
    assert (none.choice, none.reason, none.error) == ("configured", "no flats", None)
    sure = CurveFit(-3e-11, 0.0, np.zeros((2, 2)), np.full((5, 2), (-3e-11, 0.0)))
    far = choose_curve(sure, TABLE_CURVE, SATURATION, config)
    assert far.choice == "configured"
    assert "too far off" in far.reason
    lost = CurveFit(np.nan, 0.0, np.zeros((2, 2)), np.zeros((5, 2)))
    assert choose_curve(lost, TABLE_CURVE, SATURATION, config).choice == "configured"
    alone = CurveFit(*TABLE_CURVE, np.zeros((2, 2)), np.array([TABLE_CURVE]))
    assert alone.error(SATURATION) == np.inf


@given(st.floats(0.5, 3000), st.floats(-0.02, 0.05), st.floats(0.8, 1.2))
@settings(max_examples=25)
def test_the_one_map_is_the_product_of_both(exptime, delay, level):
    shape = (100, 131)
    shutter = Mesh.constant(delay, shape, 64)
    x, _ = mesh_nodes(shape, 32)
    star = Mesh((level + 0.001 * x).astype(np.float32), 32, shape)
    both = smooth_response(shape, exptime, shutter, star)
    assert both.cell == 32
    np.testing.assert_allclose(both.values, star.values * (exptime + delay) / exptime, rtol=2e-6)
    np.testing.assert_allclose(smooth_response(shape, exptime, None, star).values, star.values, rtol=1e-6)
    assert smooth_response(shape, exptime, shutter, None).cell == 64
    assert smooth_response(shape, exptime, None, None) is None


def test_a_shutter_means_nothing_without_an_exposure():
    shape = (64, 64)
    still = smooth_response(shape, 0.0, Mesh.constant(0.01, shape), None)
    np.testing.assert_array_equal(still.values, 1)


def test_maps_are_judged_by_noise_and_change():
    limits = MapLimits(max_noise=0.01, max_offset=0.02, max_change=0.02)
    values, error = np.zeros((4, 5)), np.full((4, 5), 0.001)
    assert judge_map(values, error, limits).reason == "first of its kind"
    assert judge_map(values, error, limits, (values, error)).reason == "as the last one"
    assert judge_map(values, error, limits, (values[:2], error[:2])).reason == "first of its kind"
    shifted = judge_map(values + 0.05, error, limits, (values, error))
    assert (shifted.accepted, shifted.offset) == (False, pytest.approx(0.05))
    tilted = judge_map(values + np.linspace(-0.1, 0.1, 5), error, limits, (values, error))
    assert not tilted.accepted
    assert "scatter" in tilted.reason
    assert not judge_map(values, error * 20, limits).accepted
    assert not judge_map(np.where(values == 0, np.nan, 0), error, limits).accepted
    assert not judge_map(values, np.full((4, 5), np.nan), limits).accepted


def lamp_patterns(rng, count, cells=200):
    u, v = rng.uniform(-1, 1, (2, cells))
    sky = 1 - 0.05 * (u * u + v * v)
    lamps = {
        led: sky * (1 + 0.03 * (rng.normal() * u + rng.normal() * v + rng.normal() * u * v))
        for led in range(7, 7 + count)
    }
    return sky, lamps


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=30)
def test_a_mixture_of_lamps_is_found_again(seed, count):
    rng = np.random.default_rng(seed)
    _, lamps = lamp_patterns(rng, count)
    weights = rng.dirichlet(np.ones(count))
    stars = sum(w * lamp for w, lamp in zip(weights, lamps.values(), strict=True))
    mix = mix_lamps(lamps, stars, np.full(200, 1e-3))
    assert mix.best < 1e-5
    np.testing.assert_allclose(mix.weights, weights, atol=2e-3)
    assert sum(mix.weights) == pytest.approx(1)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=20)
def test_no_other_weights_are_better(seed, count):
    rng = np.random.default_rng(seed)
    stars, lamps = lamp_patterns(rng, count)
    mix = mix_lamps(lamps, stars, np.full(200, 1e-3))
    assert min(mix.weights) >= 0
    assert mix.best <= min(*mix.alone, mix.equal) * (1 + 1e-6)
    off = np.stack([lamp / stars - 1 for lamp in lamps.values()], axis=1)
    peer = minimize(
        lambda w: 1e4 * np.mean((off @ w) ** 2),
        np.full(count, 1 / count),
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert mix.best <= np.sqrt(peer.fun / 1e4) * (1 + 1e-3) + 1e-9


def test_lamps_need_cells():
    with pytest.raises(UnusableInputError, match="0 cells"):
        mix_lamps({7: np.full(5, np.nan)}, np.ones(5), np.ones(5))
    with pytest.raises(UnusableInputError, match="cannot tell 0 lamps"):
        mix_lamps({}, np.ones(5), np.ones(5))
