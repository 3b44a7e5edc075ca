"""The section of the night report on light curves: its numbers, its drawings, its silence."""

from __future__ import annotations

import re

import numpy as np
import pytest
from science_rows import Errors, invented_truth, observed

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.lightcurves import update_lightcurves
from zsds_tasks.steps.objects import update_objects
from zsds_tasks.steps.report.curves import curve_pages
from zsds_tasks.steps.report.curves_data import gather_curves, is_folded, is_sure
from zsds_tasks.steps.report.gather import gather
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
VISITS, CHANNELS = 5, (2, 5)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("lake"), camera="mini", workers=1)
    lakehouse = open_lakehouse(settings)
    shots, truths = invented_truth(settings, NIGHT, visits=VISITS, count=300)
    skip = {(shot.expid, rcid) for shot in shots for rcid in range(8) if rcid not in CHANNELS}
    for name, table in observed(settings, shots, truths, Errors(), skip=skip, seed=4).items():
        lakehouse.table(name).merge(table)
    update_lightcurves(lakehouse, settings)
    update_objects(lakehouse, settings)
    return lakehouse


@pytest.fixture
def facts(lake):
    return gather_curves(lake, gather(lake, str(NIGHT), camera="mini"))


def test_scatter_is_that_of_the_light_curves(lake, facts):
    curves = lake.table("lightcurves").read().to_pylist()
    expected = []
    for row in curves:
        light = row["lightcurve"]
        clean = np.asarray(light["catflags"]) == 0
        if clean.sum() >= 4:
            expected.append(np.std(np.asarray(light["mag"], np.float64)[clean], ddof=1))
    assert len(facts.repeat.after) == pytest.approx(len(expected), rel=0.02)
    assert np.median(facts.repeat.after) == pytest.approx(np.median(expected), rel=0.02)
    assert facts.units == 6
    assert facts.epochs == lake.table("epochs").count()


def test_the_section_says_how_well_stars_repeat(lake, facts):
    html = curve_pages(lake, facts.night)
    assert f"{facts.stars:,}" in html
    assert "Repeatability" in html
    assert re.search(r"<td[^>]*>r</td><td[^>]*>1\d\.0 to 1\d\.5</td>", html)
    assert "nan" not in html.lower()


def periodic(lake, row, period):
    return {**row, "is_candidate": True, "period": period, "log_false_alarm": -8.0, "is_suspect": False} | {
        "period_amplitude": 0.4
    }


def test_variables_are_folded_at_their_period_or_shown_against_time(lake, facts):
    table, version = lake.table("objects"), lake.table("objects").version()
    rows = sorted(table.read().to_pylist(), key=lambda row: -row["ngoodobs"])[:2]
    table.merge([periodic(lake, rows[0], 0.55), rows[1] | {"is_candidate": True, "variability": 9.0}])
    try:
        found = gather_curves(lake, facts.night)
        assert [is_folded(row) for row, _ in found.variables[:2]] == [True, False]
        assert sum(len(c.mag) for c in found.variables[0][1]) == rows[0]["ngoodobs"]
        html = curve_pages(lake, facts.night)
        assert "period 0.55000 d" in html
        assert "too few epochs" in html
        assert 'class="tag' not in html
        truth = {str(rows[0]["objectid"]): "variable", str(rows[1]["objectid"]): "bogus: star"}
        marked = curve_pages(lake, facts.night, {"variables": truth})
        assert re.findall('class="tag ([a-z]+)">([a-z]+)<', marked) == [("good", "variable"), ("bad", "star")]
    finally:
        table.merge(table.read(version=version))


def test_a_period_of_too_few_nights_is_folded_and_called_open(lake, facts):
    table, version = lake.table("objects"), lake.table("objects").version()
    rows = sorted(table.read().to_pylist(), key=lambda row: -row["ngoodobs"])[:2]
    open_one = periodic(lake, rows[0], 0.55) | {
        "is_suspect": True, "variability": 99.0, "alias_periods": [0.3551, 1.2], "alias_scores": [9.0, 8.0],
    }  # fmt: skip
    table.merge([open_one, periodic(lake, rows[1], 0.123456)])
    try:
        found = [row for row, _ in gather_curves(lake, facts.night).variables[:2]]
        assert [is_folded(row) for row in found] == [True, True]
        assert [is_sure(row) for row in found] == [True, False]
        html = curve_pages(lake, facts.night)
        assert "period 0.12346 d" in html
        assert "about 0.55 d or an alias of it (0.355, 1.2): too few nights" in html
        assert "2 folded, 1 at a period told from its aliases" in html
    finally:
        table.merge(table.read(version=version))


def test_a_night_that_added_nothing_has_no_section(lake, tmp_path):
    other = gather(lake, "20251101", camera="mini")
    assert curve_pages(lake, other) == ""
    empty = open_lakehouse(Settings(var=tmp_path, camera="mini"))
    assert curve_pages(empty, gather(empty, str(NIGHT), camera="mini")) == ""
