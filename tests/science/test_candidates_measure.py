"""Fluxes, places, errors and shapes of candidates are right, on pairs of images with planted transients."""

import dataclasses
import functools
import math

import numpy as np
import pytest
from difference_builders import TruePsf, draw, make_pair, nearest, places, robust_width, sides

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.zogy import Frame, ZogyConfig, subtract_frames
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.candidates.detect import DetectConfig, Detections, detect
from zsds_tasks.science.candidates.measure import CANDIDATE_COLUMNS, MeasureConfig, magnitudes, measure
from zsds_tasks.science.difference.align import AlignConfig
from zsds_tasks.science.difference.subtract import DifferenceConfig, subtract

DIFFERENCE = DifferenceConfig(align=AlignConfig(brightest_mag=12.0, faintest_mag=20.0))
CONFIG = MeasureConfig()


@functools.cache
def night(seed):
    """A pair with stars, galaxies and transients; what was found and what was planted."""
    pair = make_pair(seed, stars=300, shift=(0.04, -0.03), jitter=0.02, transients=60)
    made = subtract(*sides(pair), DIFFERENCE)
    found = detect(made.subtraction.score, DetectConfig()).brighter_than(5.0)
    return pair, made, found, measure(made.subtraction, made.mask, found, made.zero_point, 20.5, CONFIG)


def matched(seeds):
    """Rows of measured and true values of all pairs: columns, true x, y, signed flux; and bogus ones."""
    rows, truth, bogus, missed = [], [], [], []
    for seed in seeds:
        pair, _, _, found = night(seed)
        index, distance = nearest(pair.tx, pair.ty, found["xpos"] - 1, found["ypos"] - 1)
        sign = np.where(found["isdiffpos"], 1.0, -1.0)
        hit = (distance < 1.5) & (sign[index] == np.sign(pair.tflux))
        rows.append(np.column_stack([found[name][index[hit]].astype(float) for name in CANDIDATE_COLUMNS]))
        truth.append(np.column_stack([pair.tx, pair.ty, pair.tflux])[hit])
        missed.append(np.abs(pair.tflux[~hit]))
        away = nearest(found["xpos"] - 1, found["ypos"] - 1, pair.tx, pair.ty)[1]
        bogus.append((away > 3).sum())
    table = dict(zip(CANDIDATE_COLUMNS, np.concatenate(rows).T, strict=True))
    return table, np.concatenate(truth).T, np.concatenate(missed), sum(bogus)


@pytest.fixture(scope="module")
def sample():
    return matched((201, 202, 203))


def test_transients_are_found_and_little_else(sample):
    table, truth, missed, bogus = sample
    error = np.median(table["sigflux"])
    flux = np.abs(truth[2])
    for low, high, least in ((6.5, 9.0, 0.85), (9.0, 1e9, 0.97)):
        found = ((flux > low * error) & (flux < high * error)).sum()
        lost = ((missed > low * error) & (missed < high * error)).sum()
        assert found / (found + lost) >= least
    assert bogus <= 3


def test_fluxes_have_no_bias_and_honest_errors(sample):
    table, (_, _, flux), *_ = sample
    pull = (table["flux"] - np.abs(flux)) / table["sigflux"]
    bright = table["snr"] > 20
    assert bright.sum() > 60
    assert np.average(table["flux"][bright] / np.abs(flux[bright])) == pytest.approx(1.0, abs=0.01)
    assert robust_width(pull[table["snr"] > 8]) == pytest.approx(1.0, abs=0.2)
    assert np.median(table["chipsf"]) == pytest.approx(1.0, abs=0.1)


def test_places_have_no_bias_and_honest_errors(sample):
    table, (x, y, _), *_ = sample
    bright = table["snr"] > 10
    for found, truth, error in ((table["xpos"], x, table["sigx"]), (table["ypos"], y, table["sigy"])):
        pull = ((found - 1 - truth) / error)[bright]
        assert abs(np.median(pull)) < 0.3
        assert robust_width(pull) == pytest.approx(1.0, abs=0.2)


def test_what_makes_fluxes_uncertain_moves_places_too():
    """A score of a third of its height says that its noise is three times that of the pixels."""
    _, made, found, usual = night(201)
    noisy = dataclasses.replace(made.subtraction, score=made.subtraction.score / np.float32(3))
    lower = dataclasses.replace(found, score=found.score / 3, level=found.level / 3)
    worse = measure(noisy, made.mask, lower, made.zero_point, 20.5, CONFIG)
    more = np.median(worse["sigx"] / usual["sigx"])
    assert more == pytest.approx(3.0, rel=0.15)
    assert np.median(worse["sigy"] / usual["sigy"]) == pytest.approx(more, rel=0.02)
    assert np.median(worse["sigflux"] / usual["sigflux"]) == pytest.approx(more, rel=0.1)


def test_apertures_hold_the_same_light(sample):
    table, (_, _, flux), *_ = sample
    bright = table["snr"] > 25
    for flux_name, error_name in (("fluxap", "sigfluxap"), ("fluxapbig", "sigfluxapbig")):
        pull = (table[flux_name] - np.abs(flux))[bright] / table[error_name][bright]
        assert abs(np.median(pull)) < 0.35
        assert np.std(pull) < 1.6


def test_shapes_are_those_of_points(sample):
    table, *_ = sample
    bright = table["snr"] > 25
    assert np.median(table["seeratio"][bright]) == pytest.approx(1.0, abs=0.06)
    assert np.median(table["elong"][bright]) < 1.25
    assert (table["elong"] >= 1).all()
    assert (table["seeratio"] <= 2.0 + 1e-9).all()
    assert np.median(table["sumrat"][bright]) > 0.95
    assert (table["nneg"][bright] <= 8).all()
    assert np.median(table["dipole"][bright]) < 0.1
    assert np.median(table["classtar"][bright]) > 0.8


def test_identities_of_the_record_hold(sample):
    table, *_ = sample
    assert np.allclose(table["magdiff"], table["magap"] - table["magpsf"], equal_nan=True)
    assert np.allclose(table["magfromlim"], table["diffmaglim"] - table["magap"], equal_nan=True)
    assert np.allclose(table["aimagerat"] * table["fwhm"], table["aimage"])
    assert np.allclose(table["bimagerat"] * table["fwhm"], table["bimage"])
    assert np.allclose(table["elong"], table["aimage"] / table["bimage"])
    assert np.allclose(table["dsdiff"], table["dsnrms"] - table["ssnrms"])
    assert np.allclose(table["sigmapsf"], 1.0857 / table["snr"], rtol=1e-3)
    assert (table["mindtoedge"] >= 9).all()
    assert (table["nbad"] == 0).all()
    assert np.corrcoef(np.log(table["ssnrms"]), np.log(table["snr"]))[0, 1] > 0.98


def plain(light, noise=5.0):
    """A difference that is given: new image against nothing, with a sharp, quiet reference."""
    shape = light.shape
    psf = TruePsf(2.3, shape, slope=0.0, ellipticity=0.0)
    new = Frame(light.astype(np.float32), Mesh.constant(noise, shape, 64), 1e6, psf)
    ref = Frame(np.zeros(shape, np.float32), Mesh.constant(noise / 50, shape, 64), 1e6, psf)
    mask = np.zeros(shape, np.uint16)
    return subtract_frames(new, ref, mask, 1, (0.0, 0.0), ZogyConfig(psf_error=0.0)), psf, mask


def at(x, y, score=50.0, sign=1.0):
    columns = [np.array(v, float, ndmin=1) for v in (x, y, score, sign)]
    return Detections(*columns, np.zeros(len(columns[0])))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_without_noise_all_is_exact(sign):
    shape = (160, 150)
    psf = TruePsf(2.3, shape, slope=0.0, ellipticity=0.0)
    x, y = places(np.random.default_rng(0), 9, shape, 25.0, 30.0)
    light = sign * draw(psf, x, y, np.full(len(x), 2000.0)) + sign * 3.0
    found, _, mask = plain(light)
    table = measure(found, mask, at(np.rint(x), np.rint(y), x * 0 + 50, x * 0 + sign), 25.0, 20.0, CONFIG)
    assert table["flux"] == pytest.approx(np.full(len(x), 2000.0), rel=0.003)
    assert table["xpos"] - 1 == pytest.approx(x, abs=0.003)
    assert table["ypos"] - 1 == pytest.approx(y, abs=0.003)
    assert table["sky"] == pytest.approx(np.full(len(x), sign * 3.0), abs=0.1)
    assert table["magpsf"] == pytest.approx(np.full(len(x), 25 - 2.5 * math.log10(2000)), abs=0.004)
    assert table["fwhm"] == pytest.approx(np.full(len(x), found.fwhms[0]), rel=0.08)
    assert (table["isdiffpos"] == (sign > 0)).all()
    assert (table["sumrat"] == 1.0).all()
    assert (table["nneg"] == 0).all()


def test_a_dipole_a_hit_and_a_galaxy_look_like_none_of_them():
    shape = (120, 130)
    psf = TruePsf(2.3, shape, slope=0.0, ellipticity=0.0)
    light = draw(psf, [30.0, 32.0], [30.0, 30.0], np.array([3000.0, -3000.0]))
    light[60, 60] += 800.0
    light += draw(TruePsf(6.0, shape, ellipticity=0.4), [90.0], [90.0], np.array([6000.0]))
    found, _, mask = plain(light)
    peaks = detect(found.score, DetectConfig()).brighter_than(5.0)
    rows = nearest(np.array([29.0, 60, 90]), np.array([30.0, 60, 90]), peaks.x, peaks.y)[0]
    dipole, hit, galaxy = (
        measure(found, mask, peaks.take(rows), 25, 20, CONFIG).take(np.array([k])) for k in range(3)
    )
    assert dipole["dipole"][0] > 0.7
    assert 1 < dipole["dipole_px"][0] < 4
    between = measure(found, mask, at(31.0, 30.0), 25.0, 20.0, CONFIG)
    assert abs(between["sumrat"][0]) < 0.3
    assert 8 <= between["nneg"][0] <= 17
    assert hit["seeratio"][0] > 1.3
    assert hit["dipole"][0] < 0.3
    assert galaxy["seeratio"][0] < 0.6
    assert galaxy["elong"][0] > 1.5
    assert galaxy["magdiff"][0] < -0.5
    assert galaxy["classtar"][0] < 0.3 < 0.5 + dipole["classtar"][0]


def test_flagged_pixels_are_counted_and_bridged():
    shape = (80, 90)
    psf = TruePsf(2.3, shape, slope=0.0, ellipticity=0.0)
    found, _, mask = plain(draw(psf, [40.2], [41.1], np.array([2000.0])))
    mask[43, 40] = mask[42, 42] = MaskBit.DEAD.flag
    mask[41, 39] = MaskBit.DETECTION.flag
    found.difference[43, 40] = found.difference[42, 42] = np.nan
    table = measure(found, mask, at(40.0, 41.0), 25.0, 20.0, CONFIG)
    assert table["nbad"][0] == 2
    for name in ("flux", "fluxap", "fluxapbig"):
        assert table[name][0] == pytest.approx(2000.0, rel=0.03)


def test_at_a_corner_and_on_nothing_no_number_is_invented():
    found, _, mask = plain(np.zeros((60, 60)))
    found.difference[25:36, 25:36] = np.nan
    table = measure(found, mask, at([1.0, 30.0], [1.0, 30.0], [5, 5], [1, 1]), 25.0, 20.0, CONFIG)
    assert len(table) == 1  # around the other no pixel can be used: it has no flux
    assert table["nbad"][0] == 25 - 16
    assert np.isnan(table["magpsf"]).all()
    assert table["mindtoedge"][0] < 3.5
    empty = measure(found, mask, at([], [], [], []), 25.0, 20.0, CONFIG)
    assert len(empty) == 0
    assert tuple(empty.columns) == CANDIDATE_COLUMNS
    with pytest.raises(ValueError, match="mask of"):
        measure(found, mask[:5], at(30.0, 30.0), 25.0, 20.0, CONFIG)


def test_magnitudes_of_negative_fluxes_are_unknown():
    mag, error = magnitudes(np.array([100.0, -1.0, 0.0]), np.array([10.0, 1.0, 1.0]), 25.0)
    assert mag[0] == pytest.approx(20.0)
    assert error[0] == pytest.approx(0.10857, rel=1e-3)
    assert np.isnan(mag[1:]).all()
    assert np.isnan(error[1:]).all()


def test_a_sheet_of_light_changes_no_error():
    """The score of a star on a sheet is what rises over it; its noise is not."""
    shape = (160, 160)
    psf = TruePsf(2.3, shape, slope=0.0, ellipticity=0.0)
    y, x = np.mgrid[:160, :160]
    light = draw(psf, [80.2], [80.4], np.array([40.0])) + np.where(np.hypot(x - 80, y - 80) < 50, 2.0, 0.0)
    found, _, mask = plain(light, noise=1.0)
    on, off = (
        detect(found.score, DetectConfig(sheet_sigma=sigma)).brighter_than(5.0) for sigma in (1.5, 1e9)
    )
    assert on.level.max() > 1.0
    near = [one.take(np.hypot(one.x - 80.2, one.y - 80.4) < 1) for one in (on, off)]
    assert near[0].score + near[0].level == pytest.approx(near[1].score)
    assert near[1].level == 0
    errors = [measure(found, mask, one, 25.0, 20.0, CONFIG)["sigflux"] for one in near]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)
