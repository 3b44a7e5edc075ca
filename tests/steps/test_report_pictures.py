"""The pictures of a report show things where they are."""

import datetime as dt
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from night_builder import NIGHT, Plan, make_night

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import REPOSITORY, Settings
from zsds_tasks.steps.report.coverage import coverage_png, visits
from zsds_tasks.steps.report.drawing import Axis, hour_ticks, nice_ticks, padded
from zsds_tasks.steps.report.focal_plane import (
    choose_exposure,
    focal_plane_png,
    place_quadrant,
    read_mosaic,
    stretched,
)
from zsds_tasks.steps.report.gather import gather
from zsds_tasks.steps.report.timeline import sky_track, timeline
from zsds_tasks.steps.report.trends import bias_trend
from zsds_tasks.survey.camera import load_camera

INCLUDE = REPOSITORY / "include"


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("pictures"), camera="mini")
    lakehouse = open_lakehouse(settings)
    make_night(settings, Plan(bias=1, flats=1, science=5), pixels=True).write(lakehouse)
    return lakehouse, gather(lakehouse, NIGHT)


def test_a_mosaic_holds_every_quadrant_at_its_place_and_gaps_between(night):
    lakehouse, facts = night
    mosaic = read_mosaic(lakehouse, facts, int(choose_exposure(facts)["expid"]))
    camera = facts.camera
    ny, nx = mosaic.pixels.shape
    assert max(ny, nx) <= 1080
    step = mosaic.binning * camera.mosaic.pixel_scale_arcsec
    for quadrant in camera.quadrants:
        row = round((mosaic.half_height_arcsec - quadrant.centre_north_arcsec) / step)
        column = round((mosaic.half_width_arcsec - quadrant.centre_east_arcsec) / step)
        around = mosaic.pixels[row - 40 : row + 40, column - 40 : column + 40]
        # The builder's sky is 300 DN above the bias of each channel.
        assert np.median(around) == pytest.approx(300 * quadrant.detector.gain, rel=0.01)
    assert np.isnan(mosaic.pixels[ny // 2, nx // 2])
    assert mosaic.missing == ()


@pytest.mark.parametrize("name", ["mini", "ztf"])
def test_a_pixel_lands_where_the_camera_says(name):
    camera = load_camera(name, INCLUDE)
    half_width, half_height = camera.half_size_arcsec
    binning = 22 if name == "ztf" else 2
    step = binning * camera.mosaic.pixel_scale_arcsec
    canvas = np.full((int(2 * half_height / step) + 1, int(2 * half_width / step) + 1), np.nan, np.float32)
    for quadrant in camera.quadrants:
        image = np.zeros((camera.quadrant.ny // binning, camera.quadrant.nx // binning), np.float32)
        image[10, 20] = 1 + quadrant.rcid
        place_quadrant(canvas, image, camera, quadrant, binning)
    for quadrant in camera.quadrants:
        row, column = (int(n[0]) for n in np.nonzero(canvas == 1 + quadrant.rcid))
        x, y = (binning * (n + 0.5) + 0.5 for n in (20, 10))
        east, north = camera.focal_plane(quadrant.rcid, x, y)
        assert half_width - (column + 0.5) * step == pytest.approx(east, abs=1.5 * step)
        assert half_height - (row + 0.5) * step == pytest.approx(north, abs=1.5 * step)


@given(st.floats(-1e4, 1e4), st.floats(0.1, 1e3), st.integers(0, 99))
def test_the_stretch_keeps_order_and_stays_within_bounds(sky, sigma, seed):
    pixels = np.random.default_rng(seed).normal(sky, sigma, (9, 11)).astype(np.float32)
    pixels[0, 0] = np.nan
    shown = stretched(pixels)
    assert np.isnan(shown[0, 0])
    valid = np.isfinite(pixels)
    assert (shown[valid] >= 0).all()
    assert (shown[valid] <= 1).all()
    order = np.argsort(pixels[valid])
    assert (np.diff(shown[valid][order]) >= 0).all()


def test_the_stretch_of_nothing_and_of_a_constant():
    nothing = np.full((3, 4), np.nan, np.float32)
    assert np.isnan(stretched(nothing)).all()
    assert np.isfinite(stretched(np.full((3, 4), 7, np.float32))).all()


def test_the_whole_exposure_in_the_middle_is_chosen(night):
    _, facts = night
    chosen = choose_exposure(facts)
    assert chosen["n_ccds"] == facts.camera.n_ccds
    assert bool(chosen["is_science"])


def test_visits_count_every_science_exposure_once(night):
    _, facts = night
    assert visits(facts)["count"].sum() == len(facts.science)
    assert coverage_png(facts).startswith(b"\x89PNG")


def test_the_timeline_has_a_bar_with_a_name_for_every_exposure(night):
    _, facts = night
    drawing = timeline(facts)
    named = set(re.findall(r"<title>(\d+): ", drawing))
    assert named == {str(expid) for expid in facts.exposures["expid"]}
    assert ">52</text>" in drawing  # 47 min of pause and 5 min of cadence, less 30 s of exposure


def test_sun_and_moon_of_a_known_night(night):
    _, facts = night
    start, end = facts.night.bounds(facts.camera.site.noon_utc_hour)
    track = sky_track(facts, start, end)
    darkest = track.times[int(np.argmin(track.sun_alt))]
    assert dt.datetime(2018, 10, 13, 7, tzinfo=dt.UTC) < darkest < dt.datetime(2018, 10, 13, 8, tzinfo=dt.UTC)
    assert 0.1 < track.moon_lit < 0.3  # four days after the new moon of 2018-10-09


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 12))
def test_ticks_are_inside_evenly_spaced_and_few(low, width, about):
    ticks = nice_ticks(low, low + width, about)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= about + 1
    steps = np.diff(ticks)
    assert steps.size == 0 or np.allclose(steps, steps[0], rtol=1e-3)


def test_ticks_of_a_single_value():
    assert nice_ticks(3.0, 3.0) == [3.0]


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=9), st.floats(0.01, 100))
def test_padding_holds_every_value_and_has_width(values, least):
    low, high = padded(values, least=least)
    assert low < min(values)
    assert high > max(values)
    assert high - low >= least * 0.99


def test_hours_are_full_and_inside():
    start = dt.datetime(2018, 10, 12, 23, 40, tzinfo=dt.UTC)
    ticks = hour_ticks(start, start + dt.timedelta(hours=15), most=8)
    assert all(tick.minute == 0 and start < tick < start + dt.timedelta(hours=15) for tick in ticks)
    assert [t.hour for t in ticks] == [0, 2, 4, 6, 8, 10, 12, 14]


@given(st.floats(0, 1))
def test_an_axis_is_linear(share):
    axis = Axis(2.0, 6.0, 100.0, 20.0)
    assert axis(2.0 + 4 * share) == pytest.approx(100 - 80 * share)


def test_of_many_channels_only_the_wandering_ones_are_lines(tmp_path):
    settings = Settings(var=tmp_path, camera="ztf")
    lakehouse = open_lakehouse(settings)
    made = make_night(settings, Plan(bias=4, flats=0, science=0, engineering=0, quarantined=0))
    for n, row in enumerate(made.tables["raw_quality"]):
        row["bias_level"] += 50 * (n // 64 % 2) if row["rcid"] == 41 else 0
    made.write(lakehouse)
    drawing, caption = bias_trend(gather(lakehouse, NIGHT))
    assert drawing.count("<polyline") == 3
    assert "channel 41: " in drawing
    assert re.search(r"wander most, [\d, ]*\b41\b", caption)


@pytest.mark.parametrize("spoilt", [None, b"", b"SIMPLE  =", "cut"])
def test_a_spoilt_file_leaves_its_ccd_empty(tmp_path, spoilt):
    settings = Settings(var=tmp_path, camera="mini")
    lakehouse = open_lakehouse(settings)
    made = make_night(settings, Plan(bias=0, flats=0, science=1, engineering=0), pixels=True)
    made.write(lakehouse)
    path = next(path for path in made.files if "_c02_" in path)
    if spoilt is None:
        lakehouse.storage.delete(path)
    else:
        half = made.files[path][: len(made.files[path]) // 8]
        lakehouse.storage.put_bytes_atomically(half if spoilt == "cut" else spoilt, path)
    facts = gather(lakehouse, NIGHT)
    mosaic = read_mosaic(lakehouse, facts, int(facts.exposures["expid"].iloc[0]))
    assert mosaic.missing == (2,)
    assert mosaic.unreadable == (path.rpartition("/")[2],)
    half_width = mosaic.pixels.shape[1] // 2
    assert np.isfinite(mosaic.pixels[:, :half_width]).any()
    assert focal_plane_png(mosaic, facts.camera).startswith(b"\x89PNG")
