"""One pass from raw counts to image and mask says what plain numpy says, whatever the shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.pixels.mesh import Mesh, mesh_shape
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.calibration.reduce import ReadoutFacts, ReduceConfig, reduce_quadrant, uncertainty
from zsds_tasks.simulator.testbed import expose_quadrant

FACTS = ReadoutFacts(6.2, 58000.0, (-6.9e-12, 1.9e-7))


def make_readout(ny, nx, seed):
    rng = np.random.default_rng(seed)
    smooth = Mesh(rng.uniform(0.9, 1.1, mesh_shape((ny, nx), 16)).astype(np.float32), 16, (ny, nx))
    flat = rng.normal(1, 0.1, (ny, nx)).astype(np.float32)
    flat[rng.random((ny, nx)) < 0.05] = 0
    flat[rng.random((ny, nx)) < 0.05] = np.nan
    bias = rng.normal(5, 2, (ny, nx)).astype(np.float32)
    bias[rng.random((ny, nx)) < 0.02] = np.nan
    return {
        "raw": rng.integers(0, 65536, (ny, nx)).astype(np.uint16),
        "level": rng.normal(1800, 5, ny).astype(np.float32),
        "bias": bias,
        "flat": flat,
        "smooth": smooth,
        "static_mask": rng.choice(np.array([0, 0, 0, 4, 16, 512], np.uint16), (ny, nx)),
    }


def reduce(parts, facts=FACTS, out_mask=None):
    image = np.full(parts["raw"].shape, 7, np.float32)
    mask = np.full(parts["raw"].shape, 7, np.uint16) if out_mask is None else out_mask
    kept = {k: v for k, v in parts.items() if k not in {"raw", "level"}}
    places = {"out_image": image, "out_mask": mask, "config": ReduceConfig()}
    return reduce_quadrant(parts["raw"], parts["level"], facts, **kept, **places), image, mask


def by_numpy(parts, facts):
    """The same in double precision, one obvious step after the other."""
    x = parts["raw"].astype(float) - parts["level"][:, None].astype(float)
    a, b = facts.linearity
    x /= a * x * x + b * x + 1
    response = parts["flat"].astype(float)
    if parts["smooth"] is not None:
        response = response * parts["smooth"].expand()
    with np.errstate(all="ignore"):
        image = (x - parts["bias"]) / response
    image[~(response >= 0.01)] = np.nan
    mask = parts["static_mask"].copy()
    mask[parts["raw"] >= facts.saturation] |= MaskBit.SATURATED.flag
    mask[~np.isfinite(image)] |= MaskBit.NAN.flag
    return image, mask


@given(st.integers(1, 60), st.integers(1, 90), st.integers(0, 99), st.booleans())
def test_it_is_the_plain_sum(ny, nx, seed, has_smooth):
    parts = make_readout(ny, nx, seed)
    parts["smooth"] = parts["smooth"] if has_smooth else None
    stats, image, mask = reduce(parts)
    expected, expected_mask = by_numpy(parts, FACTS)
    np.testing.assert_allclose(image, expected, rtol=2e-5, atol=0.05)
    np.testing.assert_array_equal(mask, expected_mask)
    assert stats.saturated == np.count_nonzero(mask & MaskBit.SATURATED.flag)
    assert stats.no_number == np.count_nonzero(np.isnan(image))
    assert stats.dead == np.count_nonzero(mask & MaskBit.DEAD.flag)
    assert stats.unusable == np.count_nonzero(mask & UNUSABLE)


def test_the_static_mask_may_be_the_buffer_itself():
    parts = make_readout(33, 70, 1)
    _, image, mask = reduce(parts)
    again = parts["static_mask"].copy()
    _, second, second_mask = reduce(parts | {"static_mask": again}, out_mask=again)
    np.testing.assert_array_equal(second, image)
    np.testing.assert_array_equal(second_mask, mask)


def test_saturated_pixels_keep_their_value_and_none_lies_under_the_level():
    parts = make_readout(64, 90, 2) | {"flat": np.ones((64, 90), np.float32)}
    parts["bias"] = np.zeros((64, 90), np.float32)
    stats, image, mask = reduce(parts)
    full = (mask & MaskBit.SATURATED.flag) > 0
    assert np.isfinite(image[full]).all()
    assert image[full].min() >= stats.saturation_level
    assert stats.saturation_level == pytest.approx((58000 - 1800) / 1.1, rel=0.02)


def test_wrong_shapes_are_refused():
    parts = make_readout(20, 30, 3)
    with pytest.raises(ValueError, match=r"flat of \(20, 29\)"):
        reduce(parts | {"flat": np.ones((20, 29), np.float32)})
    with pytest.raises(ValueError, match=r"smooth of \(21, 30\)"):
        reduce(parts | {"smooth": Mesh.constant(1.0, (21, 30))})
    with pytest.raises(ValueError, match="levels of"):
        reduce(parts | {"level": np.zeros(19, np.float32)})


def test_an_empty_readout_is_refused():
    parts = make_readout(1, 1, 4)
    empty = {k: v[:0].copy() for k, v in parts.items() if k in {"raw", "bias", "flat", "static_mask"}}
    with pytest.raises(ValueError, match="without pixels"):
        reduce(parts | empty | {"level": np.zeros(0, np.float32), "smooth": None})


@given(st.integers(1, 50), st.integers(1, 70), st.integers(0, 99))
def test_the_uncertainty_is_that_of_sky_and_source(ny, nx, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(20, 60, (ny, nx)).astype(np.float32)
    mask = rng.choice(np.array([0, 0, 2, 1 << 11, 256, 1], np.uint16), (ny, nx))
    noise = Mesh(rng.uniform(4, 6, mesh_shape((ny, nx), 16)).astype(np.float32), 16, (ny, nx))
    out = uncertainty(image, mask, noise, 6.2, np.empty_like(image))
    expected = np.sqrt(noise.expand().astype(float) ** 2 + np.maximum(image, 0) / 6.2)
    expected[(mask & UNUSABLE) > 0] = np.nan
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_the_uncertainty_refuses_what_makes_no_sense():
    image, mask = np.zeros((4, 5), np.float32), np.zeros((4, 5), np.uint16)
    with pytest.raises(ValueError, match="gain of 0"):
        uncertainty(image, mask, Mesh.constant(5.0, (4, 5)), 0.0, np.empty_like(image))
    with pytest.raises(ValueError, match="pixels"):
        uncertainty(image, mask, Mesh.constant(5.0, (4, 6)), 1.0, np.empty_like(image))


def test_a_simulated_readout_comes_back_as_the_light_that_was_planted(include):
    """Sources are drawn into a flat sky: its level and scatter must be those of light alone, everywhere."""
    effects = ("stars", "galaxies", "asteroids", "satellites", "ghosts", "cosmic_rays", "transients")
    q = expose_quadrant(include, camera="mini", seed=11, without=effects)
    quadrant = q.quadrant.detector
    facts = ReadoutFacts(quadrant.gain, quadrant.saturation, (quadrant.linearity.a, quadrant.linearity.b))
    y, x = np.ogrid[16:768:32, 16:770:32]
    smooth = np.ones(mesh_shape(q.smooth.shape, 32), np.float32)
    part = q.smooth[y, x]
    smooth[: part.shape[0], : part.shape[1]] = part
    parts = {
        "raw": q.raw,
        "level": fit_overscan(q.overscan, q.quadrant.amplifier.read_x, OverscanConfig()).level,
        "bias": q.bias,
        "flat": q.response,
        "smooth": Mesh(smooth, 32, q.raw.shape),
        "static_mask": sum(where * np.uint16(4) for where in q.defects.values()).astype(np.uint16),
    }
    _, image, mask = reduce(parts, facts)
    good = mask == 0
    sky = float(np.median(image[good]))
    sigma = np.sqrt(sky / facts.gain + (quadrant.read_noise / facts.gain) ** 2)
    assert np.std(image[good]) == pytest.approx(sigma, rel=0.05)
    quarters = [np.median(p[m]) for p, m in zip(np.split(image, 2), np.split(good, 2), strict=False)]
    assert np.ptp(quarters) < 0.02 * sky
