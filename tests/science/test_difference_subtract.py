"""A science image and a reference become a calibrated difference; what cannot be used is said."""

import sys
import types

import numpy as np
import pytest
from difference_builders import make_pair, nearest, robust_width, sides
from scipy import ndimage

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.candidates.detect import DetectConfig, detect
from zsds_tasks.science.candidates.measure import MeasureConfig, measure
from zsds_tasks.science.difference.align import AlignConfig
from zsds_tasks.science.difference.background import LevelConfig, match_background
from zsds_tasks.science.difference.engines import EngineConfig
from zsds_tasks.science.difference.subtract import DifferenceConfig, subtract

ALIGN = AlignConfig(brightest_mag=12.0, faintest_mag=20.0)
CONFIG = DifferenceConfig(align=ALIGN)


def run(pair, config=CONFIG, mask=None, **changes):
    return subtract(*sides(pair, mask=mask, **changes), config)


@pytest.mark.parametrize("units", ["science", "reference"])
def test_fluxes_are_those_of_the_chosen_image(units):
    pair = make_pair(80, factor=2.5, stars=400, galaxies=0, transients=20, transient_flux=(2000, 4000))
    found = run(pair, CONFIG.model_copy(update={"units": units}))
    scale = 1.0 if units == "science" else 2.5
    assert found.zero_point == pytest.approx(26.0 + 2.5 * np.log10(scale))
    candidates = detect(found.subtraction.score, DetectConfig()).brighter_than(5.0)
    measured = measure(found.subtraction, found.mask, candidates, found.zero_point, 20.0, MeasureConfig())
    index, distance = nearest(pair.tx, pair.ty, measured["xpos"] - 1, measured["ypos"] - 1)
    hit = distance < 1.5
    assert hit.mean() > 0.9
    ratio = measured["flux"][index[hit]] / (scale * np.abs(pair.tflux[hit]))
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
    mags = measured["magpsf"][index[hit]] + 2.5 * np.log10(np.abs(pair.tflux[hit]))
    assert np.median(mags) == pytest.approx(26.0, abs=0.02)


def test_the_inputs_are_not_changed():
    pair = make_pair(81, stars=200)
    science, reference = sides(pair, mask=np.zeros(pair.new.shape, np.uint16))
    before = science.image.copy(), reference.image.copy(), science.mask.copy()
    subtract(science, reference, CONFIG)
    assert all(
        np.array_equal(a, b)
        for a, b in zip((science.image, reference.image, science.mask), before, strict=True)
    )


def test_masks_are_joined():
    pair = make_pair(82, stars=150, transients=0)
    shape = pair.new.shape
    mask = np.zeros(shape, np.uint16)
    mask[10, 10] = MaskBit.SATURATED.flag
    mask[20, 20] = MaskBit.DETECTION.flag
    other = np.zeros(shape, np.uint16)
    other[30, 30], other[31, 31] = MaskBit.DEAD.flag, MaskBit.PSF_SOURCE.flag
    coverage = np.full(shape, 15.0, np.float32)
    coverage[40, 40] = 0.4
    pair.ref[50, 50] = np.nan
    science, reference = sides(pair, mask=mask, coverage=coverage)
    reference = type(reference)(**{**vars(reference), "mask": other})
    found = subtract(science, reference, CONFIG)
    nan = MaskBit.NAN.flag
    assert found.mask[10, 10] == MaskBit.SATURATED.flag
    assert found.mask[20, 20] == MaskBit.DETECTION.flag
    assert [found.mask[k, k] for k in (30, 31, 40, 50)] == [nan, 0, nan, nan]
    assert np.isnan(found.image[[10, 30, 40, 50], [10, 30, 40, 50]]).all()
    assert np.isfinite(found.image[[20, 60], [20, 60]]).all()
    assert found.overlap == pytest.approx(1 - 4 / mask.size)


def test_too_little_overlap_is_refused():
    pair = make_pair(83, stars=30, transients=0)
    pair.ref[:, :400] = np.nan
    with pytest.raises(UnusableInputError, match=r"ztf_0001: 30\.\d% of the pixels .* under 50%.*Remedy"):
        subtract(*sides(pair), CONFIG, subject="ztf_0001")
    science, reference = sides(pair)
    short = type(reference)(**{**vars(reference), "image": pair.ref[:5]})
    with pytest.raises(ValueError, match="reference of"):
        subtract(science, short, CONFIG)


@pytest.mark.parametrize("seed", [84, 85])
def test_what_is_left_of_the_sky_is_taken_off(seed):
    pair = make_pair(seed, stars=500, galaxies=30, transients=0)
    y, x = np.mgrid[: pair.new.shape[0], : pair.new.shape[1]]
    wave = 6.0 + 2.0 * np.sin(x / 190.0) * np.cos(y / 230.0)
    pair.new[:] += wave.astype(np.float32)
    found = run(pair, CONFIG.model_copy(update={"level": LevelConfig(cell_px=96)}))
    assert robust_width(found.level.expand() - wave) < 0.4
    blocks = found.image[:640, :576].reshape(4, 160, 4, 144)
    assert np.abs(np.nanmedian(blocks, axis=(1, 3))).max() < 0.1 * found.subtraction.noise[0]


def test_the_level_under_a_crowd_is_not_light():
    pair = make_pair(86, stars=3000, galaxies=0, transients=0)
    new, ref = (side.frame() for side in sides(pair))
    mask = np.zeros(pair.new.shape, np.uint16)
    level = match_background(new, ref, mask, 1, LevelConfig())
    assert np.abs(level.values).max() < 0.1 * pair.settings.new_noise
    none = match_background(new, ref, np.ones_like(mask), 1, LevelConfig())
    assert not none.values.any()


def test_an_uncertainty_map_replaces_noise_and_gain():
    pair = make_pair(87, stars=200, transients=0)
    light = np.maximum(pair.ref, 0) / pair.settings.ref_gain
    errors = np.sqrt(pair.settings.ref_noise**2 + light).astype(np.float32)
    plain, mapped = run(pair), run(pair, uncertainty=errors)
    assert np.allclose(plain.subtraction.sigma, mapped.subtraction.sigma, rtol=1e-3)
    louder = run(pair, uncertainty=10 * errors)
    assert np.nanstd(louder.subtraction.score) < 0.5 * np.nanstd(plain.subtraction.score)


def test_without_the_package_the_second_engine_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sfft", None)
    config = CONFIG.model_copy(update={"engine": EngineConfig(name="sfft")})
    with pytest.raises(ConfigurationError, match=r"cannot be imported.*pip install sfft"):
        run(make_pair(88, stars=100, transients=0), config)


def test_the_second_engine_is_scored_as_the_first(monkeypatch):
    """A stand-in for the package that matches perfectly: the reference smeared to the science PSF."""
    pair = make_pair(89, stars=300, galaxies=0, transients=25, transient_flux=(400.0, 3000.0))
    wide = (2.4**2 - 2.0**2) ** 0.5 / 2.3548

    def solve(template, image, *_shown, **_settings):
        return None, image - ndimage.gaussian_filter(template, wide), None

    modules = {
        "sfft": types.ModuleType("sfft"),
        "sfft.sfftcore": types.ModuleType("sfft.sfftcore"),
        "sfft.sfftcore.SFFTSubtract": types.ModuleType("SFFTSubtract"),
        "sfft.sfftcore.SFFTConfigure": types.ModuleType("SFFTConfigure"),
    }
    modules["sfft.sfftcore.SFFTSubtract"].GeneralSFFTSubtract = types.SimpleNamespace(GSS=solve)
    configure = types.SimpleNamespace(SSC=lambda *_shape, **_settings: None)
    modules["sfft.sfftcore.SFFTConfigure"].SingleSFFTConfigure = configure
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    found = run(pair, CONFIG.model_copy(update={"engine": EngineConfig(name="sfft")}))
    assert found.engine == "sfft"
    assert robust_width(found.subtraction.score[::3, ::3].ravel()) == pytest.approx(1.0, abs=0.06)
    candidates = detect(found.subtraction.score, DetectConfig()).brighter_than(5.0)
    distance = nearest(pair.tx, pair.ty, candidates.x, candidates.y)[1]
    assert (distance < 1.5).mean() > 0.9
    with pytest.raises(ConfigurationError, match="flux scale"):
        run(
            make_pair(89, factor=2.0, stars=300),
            CONFIG.model_copy(update={"engine": EngineConfig(name="sfft"), "units": "reference"}),
        )


def test_a_mesh_is_what_noise_is():
    with pytest.raises(ValueError, match="cells"):
        Mesh(np.zeros((2, 2), np.float32), 10, (100, 100))
