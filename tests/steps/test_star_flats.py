"""Star flats as a step: from rows of sources to maps that later nights use, and only later ones."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
import yaml
from star_rows import FID, invented_shot, measure, sky_of, write_sky

from zsds_tasks.errors import ConfigurationError, NothingToDoError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.science.calibration.acceptance import Verdict
from zsds_tasks.science.calibration.lampcells import cell_centres
from zsds_tasks.settings import Settings
from zsds_tasks.steps.calibration import (
    CalibrationConfig,
    MapRoom,
    build_star_flats,
    propose_led_weights,
    star_flat_for,
)
from zsds_tasks.steps.calibration.lamprows import LED_FLAT
from zsds_tasks.steps.calibration.mapfiles import CELL, read_smooth_map
from zsds_tasks.steps.calibration.starflats import applied_star_flat
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

NIGHT, NEXT = "20251012", "20251013"
START = dt.datetime(2025, 10, 12, 4, tzinfo=dt.UTC)
LATER = dt.datetime(2025, 10, 20, tzinfo=dt.UTC)
SHAPE = (770, 768)
CHANNELS = (0, 5)
COUNT = 2000


def response(x, y):
    u, v = x / SHAPE[1] - 0.5, y / SHAPE[0] - 0.5
    return 0.97 - 0.06 * (u + 0.4) ** 2 - 0.05 * v * v + 0.006 * np.sin(6 * u - 5 * v)


def departure(flat_at):
    """RMS of a map (0-based x, y) over the planted response, mmag."""
    y, x = (grid.ravel() for grid in np.mgrid[0 : SHAPE[0] : 8, 0 : SHAPE[1] : 8].astype(float))
    return 1000 * np.std(2.5 * np.log10(flat_at(x, y) / response(x, y)))


@pytest.fixture
def settings(tmp_path):
    return Settings(var=tmp_path / "var", workers=1, camera="mini")


@pytest.fixture
def camera(settings):
    return load_camera("mini", settings.include)


@pytest.fixture
def lakehouse(settings, camera):
    folder = settings.var / "catalogs"
    folder.mkdir(parents=True)
    shot = invented_shot(NIGHT, 0, START)
    write_sky(camera, [camera.quadrants[k] for k in CHANNELS], shot, COUNT, folder, settings)
    return open_lakehouse(settings)


def observe(lakehouse, camera, night, *, exposures=6, channels=CHANNELS, had=None, masters=(), seed=0):
    images, sources = [], []
    start = START + (ObservingNight.parse(night).date - START.date()) * 1
    for number in range(exposures):
        shot = invented_shot(night, number, start)
        for rcid in channels:
            quadrant = camera.quadrants[rcid]
            stars = sky_of(camera, quadrant, shot, COUNT)
            own = masters.get(rcid, ()) if isinstance(masters, dict) else masters
            mesh = had.get(rcid) if had else None
            image, rows = measure(
                camera, quadrant, shot, stars, response, masters=own, had=mesh.at if mesh else None, seed=seed
            )
            images.append(image)
            sources.append(rows)
    lakehouse.table("science_images").merge(images)
    lakehouse.table("sources").merge(pa.concat_tables(sources))
    return images


def build(lakehouse, settings, night=NIGHT, now=LATER, **options):
    return build_star_flats(lakehouse, settings, night, now, **options)


def star_rows(lakehouse, night=NIGHT):
    return lakehouse.table("master_frames").read(where={"kind": "starflat", "night": night}).to_pylist()


def test_stars_of_a_night_give_the_response_once(lakehouse, settings, camera):
    observe(lakehouse, camera, NIGHT)
    summary = build(lakehouse, settings)
    assert (summary.built, summary.accepted, summary.refused) == (2, 2, ())
    rows = star_rows(lakehouse)
    assert [(r["rcid"], r["fid"], r["n_frames"], r["reason"]) for r in rows] == [
        (rcid, FID, 6, "first of its kind") for rcid in CHANNELS
    ]
    for row in rows:
        assert row["path"].endswith(f"_zr_c{row['ccdid']:02d}_q{row['qid']}_starflat.fits")
        found = read_smooth_map(lakehouse, row, SHAPE)
        assert departure(found.values.at) < 4.5
        assert row["noise"] < 0.004
        assert row["n_stars"] > 1000
        assert row["rms_after"] < 0.3 * row["rms_before"]
        assert row["average"] == pytest.approx(1, abs=1e-5)
    again = build(lakehouse, settings)
    assert (again.built, again.reason) == (0, "every star flat is built, or no images")
    lakehouse.table("master_frames").delete({"kind": "starflat"})
    build(lakehouse, settings)
    assert star_rows(lakehouse) == rows


def test_only_later_nights_use_it(lakehouse, settings, camera):
    observe(lakehouse, camera, NIGHT, channels=(0,))
    build(lakehouse, settings)
    row = star_rows(lakehouse)[0]
    assert star_flat_for(lakehouse, 0, FID, NIGHT) is None
    assert star_flat_for(lakehouse, 0, FID, "20251011") is None
    assert star_flat_for(lakehouse, 0, 1, NEXT) is None
    assert star_flat_for(lakehouse, 0, FID, "20251210") is None
    choice = star_flat_for(lakehouse, 0, FID, "20251014")
    assert (choice.row, choice.reason) == (row, "2 nights before")
    same, after = (MapRoom(lakehouse, settings, night).maps(0, FID, 30.0) for night in (NIGHT, NEXT))
    assert same.smooth is None
    assert same.used == ()
    assert "star flat: none accepted" in same.reasons
    assert after.used == (f"starflat {NIGHT} {row['sha256']}",)
    assert applied_star_flat(after.used) == row["sha256"]
    assert departure(after.smooth.at) < 4.5
    curve = camera.quadrants[0].detector.linearity
    assert after.linearity == (curve.a, curve.b)


def test_the_next_star_flat_is_the_total_and_not_what_was_left(lakehouse, settings, camera):
    observe(lakehouse, camera, NIGHT, channels=(0,))
    build(lakehouse, settings)
    row = star_rows(lakehouse)[0]
    had = read_smooth_map(lakehouse, row, SHAPE).values
    used = (f"starflat {NIGHT} {row['sha256']}",)
    observe(lakehouse, camera, NEXT, channels=(0,), had={0: had}, masters=used, seed=5)
    assert build(lakehouse, settings, NEXT).accepted == 1
    second = star_rows(lakehouse, NEXT)[0]
    assert departure(read_smooth_map(lakehouse, second, SHAPE).values.at) < 4.5
    assert second["rms_before"] < 0.5 * row["rms_before"]
    assert (second["previous_night"], second["reason"]) == (NIGHT, "as the last one")
    assert second["change"] < 0.005
    assert lakehouse.table("master_frames").read(where={"night": NIGHT}).to_pylist() == [row]


def test_images_of_a_star_flat_that_is_gone_are_left_out(lakehouse, settings, camera):
    observe(lakehouse, camera, NEXT, channels=(0,), masters=(f"starflat {NIGHT} {'e' * 64}",))
    summary = build(lakehouse, settings, NEXT)
    assert summary.refused == ("channel 0 starflat zr: 0 measurements of stars, 200 are needed",)
    row = star_rows(lakehouse, NEXT)[0]
    assert (row["n_frames"], row["n_rejected"]) == (0, 6)
    assert row["rejections"] == "6 images: the star flat they had is gone"
    assert row["path"] is None


def test_images_that_failed_say_nothing(lakehouse, settings, camera):
    images = observe(lakehouse, camera, NIGHT, channels=(0,))
    lakehouse.table("science_images").merge(
        [image | {"status": 0, "reason": "clouds"} for image in images[:4]] + [images[4] | {"magzp": None}]
    )
    assert build(lakehouse, settings).refused == ("channel 0 starflat zr: 1 exposures, 4 are needed",)
    row = star_rows(lakehouse)[0]
    assert (row["n_frames"], row["accepted"], row["rms_after"]) == (1, False, None)
    assert star_flat_for(lakehouse, 0, FID, NEXT) is None


def test_new_images_or_another_configuration_build_again(lakehouse, settings, camera):
    observe(lakehouse, camera, NIGHT, channels=(0,))
    config = CalibrationConfig()
    first = build(lakehouse, settings, config=config)
    stars = config.stars.model_copy(update={"fit": config.stars.fit.model_copy(update={"order": 4})})
    coarse = build(lakehouse, settings, config=config.model_copy(update={"stars": stars}))
    assert coarse.built == 1
    assert coarse.processing_version != first.processing_version
    observe(lakehouse, camera, NIGHT, channels=(0,), exposures=7)
    assert build(lakehouse, settings, config=config).built == 1
    assert star_rows(lakehouse)[0]["n_frames"] == 7


def test_a_night_that_is_not_over_or_empty_has_nothing_to_do(lakehouse, settings, camera):
    observe(lakehouse, camera, NIGHT, channels=(0,), exposures=1)
    assert build(lakehouse, settings, now=START).reason == "the night is not over"
    assert build(lakehouse, settings, "20251005").reason == "every star flat is built, or no images"
    assert star_rows(lakehouse) == []


def test_without_a_catalogue_a_human_must_help(settings, camera):
    bare = open_lakehouse(settings)
    observe(bare, camera, NIGHT, channels=(0,), exposures=1)
    with pytest.raises(ConfigurationError, match="HATS catalogue"):
        build(bare, settings)


def led_rows(lakehouse, settings, camera, weights, night=NIGHT):
    """Rows of LED flats whose mixture by `weights` is the planted response."""
    office = Office(lakehouse, camera, load_survey(camera.survey, settings.include), "0" * 12, 7)
    x, y = cell_centres(SHAPE, 128)
    u, v = x / SHAPE[1] - 0.5, y / SHAPE[0] - 0.5
    patterns = np.stack([0.05 * u, -0.05 * u + 0.03 * v, -0.02 * v + 0.04 * u * v])
    patterns -= np.tensordot(weights, patterns, 1)
    images = {f"LED{7 + k:02d}": response(x, y) * (1 + p) for k, p in enumerate(patterns)}
    rows = []
    for rcid in CHANNELS:
        label = Label(ObservingNight.parse(night), camera.quadrants[rcid], LED_FLAT, FID, "d" * 64)
        rows.append(office.maps(label, images, Verdict(True, "3 LEDs"), [(CELL, 128, "")]))
    lakehouse.table("master_frames").merge(rows)


def test_led_weights_are_proposed_where_lamps_and_stars_meet(lakehouse, settings, camera):
    with pytest.raises(NothingToDoError, match="no LED flats"):
        propose_led_weights(lakehouse, settings, NIGHT)
    weights = np.array([0.8, 0.2, 0.0])
    led_rows(lakehouse, settings, camera, weights)
    with pytest.raises(NothingToDoError, match="no channel has LED flats and a star flat"):
        propose_led_weights(lakehouse, settings, NIGHT)
    observe(lakehouse, camera, NIGHT)
    build(lakehouse, settings)
    report = propose_led_weights(lakehouse, settings, NIGHT)
    mix = report.filters[0].mix
    assert (report.filters[0].filter, report.filters[0].channels, mix.leds) == ("r", 2, (7, 8, 9))
    np.testing.assert_allclose(mix.weights, weights, atol=0.08)
    assert mix.best < 0.7 * min(*mix.alone, mix.equal)
    assert mix.best < 1.5 * mix.noise
    names = [lamps for _, lamps, _ in report.table()]
    assert names[:4] == ["LED 7", "LED 8", "LED 9", "equal weights"]
    config = CalibrationConfig.model_validate(yaml.safe_load(report.proposal()))
    assert sum(config.flat.led_weights.values()) == pytest.approx(1, abs=0.01)
