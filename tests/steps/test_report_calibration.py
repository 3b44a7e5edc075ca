"""What the night report says of masters."""

import datetime as dt

import numpy as np
import pytest
from night_builder import NIGHT, Plan, make_night

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.science.calibration.acceptance import Verdict
from zsds_tasks.science.calibration.masters import Master
from zsds_tasks.settings import Settings
from zsds_tasks.steps.calibration.channel import BIAS, FLAT, MASK
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.steps.report import build_report, gather
from zsds_tasks.steps.report.calibration import master_maps, masters, masters_png
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

NOW = dt.datetime(2018, 10, 13, 15, tzinfo=dt.UTC)
GOOD, BAD = Verdict(True, "first of its kind"), Verdict(False, "noise: <3 DN> over the limit")


@pytest.fixture
def settings(tmp_path):
    return Settings(var=tmp_path, camera="mini")


def write_masters(settings, lakehouse):
    camera = load_camera(settings.camera, settings.include)
    office = Office(lakehouse, camera, load_survey(camera.survey, settings.include), "0" * 12, 7)
    rng = np.random.default_rng(3)
    shape, night = (camera.quadrant.ny, camera.quadrant.nx), ObservingNight.parse(NIGHT)
    rows = []
    for quadrant in camera.quadrants[:3]:
        image = rng.normal(1, 0.01, shape).astype(np.float32)
        flags = np.zeros(shape, np.bool_)
        master = Master(
            image, image / 100, image, flags, ("1234", "1235"), (("1236", "too dark"),), 20000.0, 0.01
        )
        verdict = BAD if quadrant.rcid == 2 else GOOD
        rows += [
            office.frame(Label(night, quadrant, BIAS, 0, "a" * 64), master, GOOD),
            office.frame(Label(night, quadrant, FLAT, 2, "b" * 64), master, verdict),
            office.mask(
                Label(night, quadrant, MASK, 0, "c" * 64), (image > 1.03).astype(np.uint16) * 4, GOOD
            ),
        ]
    lakehouse.table("master_frames").merge(rows)
    return rows


def test_the_page_counts_shows_and_explains(settings):
    lakehouse = open_lakehouse(settings)
    make_night(settings, Plan(science=2)).write(lakehouse)
    write_masters(settings, lakehouse)
    html = lakehouse.storage.read_bytes(build_report(lakehouse, settings, NIGHT, now=NOW)).decode()
    section = html[html.index('id="masters"') :]
    assert "9 masters, 8 accepted and 1 refused." in section
    assert "noise: &lt;3 DN&gt; over the limit" in section
    assert "1·q3" in section
    assert "low responsivity" in section
    assert "data:image/png;base64," in section
    assert lakehouse.storage.exists(f"reports/{NIGHT}/masters.png")


def test_maps_leave_out_what_is_refused_or_lost(settings):
    lakehouse = open_lakehouse(settings)
    make_night(settings, Plan(science=2)).write(lakehouse)
    rows = write_masters(settings, lakehouse)
    whole = master_maps(lakehouse, gather(lakehouse, NIGHT))
    assert [m.title for m in whole] == ["Bias, DN", "High-frequency flat · r"]
    covered = [np.isfinite(m.pixels).sum() for m in whole]
    assert covered[1] * 3 == covered[0] * 2
    lakehouse.storage.delete(rows[0]["path"])
    again = master_maps(lakehouse, gather(lakehouse, NIGHT))
    assert np.isfinite(again[0].pixels).sum() * 3 == covered[0] * 2
    assert masters_png(again).startswith(b"\x89PNG")


def test_nights_without_masters(settings):
    lakehouse = open_lakehouse(settings)
    make_night(settings, Plan(science=2)).write(lakehouse)
    assert "no master was built" in masters(gather(lakehouse, NIGHT), None)
    make_night(settings, Plan(bias=0, flats=0, science=2, night="20181015")).write(lakehouse)
    assert masters(gather(lakehouse, "20181015"), None) == ""
