"""Masters of simulated frames know the detector; a score tells good masters from bad ones."""

import datetime as dt

import numpy as np
import pytest

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.acceptance import Verdict
from zsds_tasks.science.calibration.badpixels import BadPixelConfig, flag_bad_pixels
from zsds_tasks.science.calibration.lampcells import cell_means
from zsds_tasks.science.calibration.masters import (
    BiasConfig,
    ChannelFacts,
    FlatConfig,
    Readout,
    build_bias,
    build_flat,
)
from zsds_tasks.science.calibration.overscan import OverscanConfig
from zsds_tasks.science.calibration.shutter import mesh_nodes, smooth_map
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.production import Recipe, set_stage
from zsds_tasks.simulator.score_calibration import is_met, score_calibration, with_masters
from zsds_tasks.simulator.score_maps import planted_response, planted_shutter
from zsds_tasks.simulator.truth.recipe import TABLE, instrument_of, recipe_table
from zsds_tasks.simulator.truth.tables import write_truth
from zsds_tasks.steps.calibration.channel import BIAS, FLAT, MASK
from zsds_tasks.steps.calibration.mapfiles import map_cards, map_images
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

NIGHT = ObservingNight(dt.date(2025, 10, 14))
SEED, CCDID, QID = 4, 1, 2
GOOD = Verdict(True, "first of its kind")


@pytest.fixture(scope="module")
def stage(include):
    return set_stage(Recipe(include, "mini", SEED, NIGHT, exposures=1))


@pytest.fixture(scope="module")
def masters(stage):
    """Bias, r flat and mask of one channel, from ten biases and two frames of each LED."""
    frames = {"b": [], "f": []}
    for exposure in stage.night.exposures:
        lamp = exposure.imgtypecode == "f" and exposure.filter.name == "r" and exposure.exptime_s > 5
        if exposure.imgtypecode == "b" or lamp:
            frame = expose_ccd(stage.instrument, stage.night.scene(exposure, CCDID), CCDID)
            parts = frame.images[QID - 1], frame.overscans[QID - 1]
            frames[exposure.imgtypecode].append(Readout(str(exposure.expid), *parts, exposure.led or 0))
    quadrant = stage.instrument.camera.quadrants_of(CCDID)[QID - 1]
    detector = quadrant.detector
    facts = ChannelFacts(
        quadrant.amplifier.read_x,
        detector.gain,
        detector.saturation,
        (detector.linearity.a, detector.linearity.b),
    )
    bias = build_bias(frames["b"], facts, OverscanConfig(), BiasConfig())
    flat = build_flat(frames["f"], facts, bias.image, OverscanConfig(), FlatConfig())
    return quadrant, bias, flat, flag_bad_pixels(bias, [flat], BadPixelConfig())


@pytest.fixture
def written(settings, stage, masters):
    """Return a function that writes the masters, with another mask where given, and scores them."""
    quadrant, bias, flat, mask = masters
    lakehouse = open_lakehouse(settings)
    camera = stage.instrument.camera
    office = Office(lakehouse, camera, load_survey(camera.survey, settings.include), "0" * 12, 7)

    def score(mask=mask):
        rows = [
            office.frame(Label(NIGHT, quadrant, BIAS, 0, "a" * 64), bias, GOOD),
            office.frame(Label(NIGHT, quadrant, FLAT, 2, "b" * 64), flat, GOOD),
            office.mask(Label(NIGHT, quadrant, MASK, 0, "c" * 64), mask, GOOD),
        ]
        lakehouse.table("master_frames").merge(rows)
        return score_calibration(lakehouse, settings.truth_folder, NIGHT)

    return score


def keep_recipe(settings):
    write_truth(settings.truth_folder, NIGHT, {TABLE: recipe_table("mini", SEED, ())})


def test_masters_of_simulated_frames_reach_every_target(written, settings):
    keep_recipe(settings)
    measures = written()
    assert is_met(measures), [m for m in measures if not m.ok]
    found = {m.measure: m.value for m in measures}
    assert found["bias residual, DN"] < 0.6
    assert 0.95 < found["bias pull"] < 1.1
    assert 0.95 < found["hifreqflat pull"] < 1.1
    assert found["hot pixels completeness"] == 1
    report = with_masters({"sentence": "", "measures": [{}]}, measures)
    assert len(report["measures"]) == 1 + len(measures)


def test_a_wrong_mask_is_seen(written, settings, masters):
    keep_recipe(settings)
    wrong = masters[3] & ~np.uint16(MaskBit.DEAD.flag)
    wrong[:50, :50] |= np.uint16(MaskBit.HIGH_RESPONSE.flag)
    measures = written(wrong)
    assert not is_met(measures)
    found = {m.measure: m for m in measures}
    assert found["dead pixels completeness"].value == 0
    assert "dead pixels purity" not in found
    assert not found["high pixels purity"].ok


def smooth_rows(settings, stage, masters, wrong):
    """Rows of the maps as planted, or wrong by a known amount."""
    quadrant, _, flat, _ = masters
    camera = stage.instrument.camera
    lakehouse = open_lakehouse(settings)
    office = Office(lakehouse, camera, load_survey(camera.survey, settings.include), "0" * 12, 7)
    shape = flat.image.shape
    x, y = mesh_nodes(shape, 32)
    x0, y0 = quadrant_origin(camera, QID)
    response = stage.instrument.ccd(CCDID).response[y0 : y0 + shape[0], x0 : x0 + shape[1]]
    taken = cell_means((flat.image / np.maximum(response, 0.01)).astype(np.float32), 32, 5.0)[0]
    star = planted_response(stage.instrument, quadrant, x, y) / taken
    star = star / star.mean() * (1 + 0.02 * wrong * (x / shape[1] - 0.5))
    shutter = planted_shutter(stage.instrument, quadrant, x, y) + 0.003 * wrong
    curve = quadrant.detector.linearity
    error = np.full(x.shape, 1e-3)
    rows = [
        office.maps(
            Label(NIGHT, quadrant, CalibrationKind.LINEARITY, 0, "d" * 64), {"CURVE": error}, GOOD,
            choice="fitted", lin_a=curve.a, lin_b=curve.b + 4e-8 * wrong,
        )
    ]  # fmt: skip
    for kind, fid, values in ((CalibrationKind.SHUTTER, 0, shutter), (CalibrationKind.STAR_FLAT, 2, star)):
        found = smooth_map(values, error, 32, shape)
        label = Label(NIGHT, quadrant, kind, fid, "e" * 64)
        rows.append(office.maps(label, map_images(found), GOOD, map_cards(found)))
    lakehouse.table("master_frames").merge(rows)


def test_smooth_maps_are_scored_in_their_own_units(written, settings, stage, masters):
    keep_recipe(settings)
    smooth_rows(settings, stage, masters, wrong=0)
    right = {m.measure: m for m in written()}
    assert right["linearity error"].value == 0
    assert "1 of them fitted" in right["linearity error"].sentence
    assert right["shutter error, ms"].value < 0.01
    assert right["star flat error, mmag"].value < 1.0  # edges: a mesh is flat beyond its last middles
    smooth_rows(settings, stage, masters, wrong=1)
    wrong = {m.measure: m for m in written()}
    saturation = masters[0].detector.saturation
    assert wrong["linearity error"].value == pytest.approx(4e-8 * saturation, rel=0.05)
    assert wrong["shutter error, ms"].value == pytest.approx(3, rel=0.01)
    assert wrong["star flat error, mmag"].value == pytest.approx(1086 * 0.02 / np.sqrt(12), rel=0.1)
    assert [wrong[name].ok for name in ("linearity error", "shutter error, ms", "star flat error, mmag")] == [
        False,
        False,
        False,
    ]


def test_without_a_recipe_or_masters_there_is_no_score(written, settings):
    assert written() == []
    keep_recipe(settings)
    other = ObservingNight(dt.date(2025, 10, 20))
    assert score_calibration(open_lakehouse(settings), settings.truth_folder, other) == []


def test_the_recipe_gives_the_same_detector(settings, stage):
    keep_recipe(settings)
    again = instrument_of(settings.truth_folder, NIGHT, settings.include)
    assert np.array_equal(again.ccd(CCDID).response, stage.instrument.ccd(CCDID).response)
