"""A night unlike those before it is a warning that says how much; with few before it nothing is said."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.findings import TableCheck, with_findings
from zsds_tasks.products.tables import load_table
from zsds_tasks.settings import REPOSITORY, Settings
from zsds_tasks.steps import drift
from zsds_tasks.survey.nights import ObservingNight

CONFIG = drift.load_drift_config(REPOSITORY / "include")
FIRST = dt.date(2025, 10, 1)
NIGHTS = [f"{FIRST + dt.timedelta(days=day):%Y%m%d}" for day in range(7)]
IMAGES = 7
SEEING = next(m for m in CONFIG.measures if m.name == "seeing")


def filled(name, **known):
    nothing = {"string": "", "bool": False}
    row = {}
    for column in load_table(name).columns:
        blank = [] if column.is_list else nothing.get(column.type, 0)
        row[column.name] = None if column.nullable else blank
    return row | known


def rows_of(night, table, rng, **shift):
    """Return images of a night in two filters as an ordinary night has them, some measures shifted."""
    day = ObservingNight.parse(night)
    for number in range(2 * IMAGES):
        fid = 1 + number % 2
        measures = {
            "seeing": 2.0 + 0.3 * rng.normal(), "maglimit": 20.6 + 0.1 * rng.normal(),
            "zp30": 26.3 - 0.4 * (fid == 1) + 0.01 * rng.normal(), "n_sources": int(1000 + 50 * rng.normal()),
            "n_positive": int(30 + 3 * rng.normal()), "n_negative": int(20 + 2 * rng.normal()),
        }  # fmt: skip
        usable = number // 2 not in shift.get("lost", ())
        measures = {name: value + shift.get(name, {}).get(fid, 0) for name, value in measures.items()}
        names = set(load_table(table).names)
        jd = 2400000.5 + (day.date - dt.date(1858, 11, 17)).days + 0.1 + 0.001 * number
        key = {"expid": int(night) * 100 + number, "pid": int(night) * 10**6 + number * 100}
        key |= {"night": night, "obsjd": jd, "fid": fid, "field": 600, "ra": 10.0, "dec": 20.0}
        known = key | (measures if usable else {}) | {"status": int(usable)}
        yield filled(table, **{name: value for name, value in known.items() if name in names})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a maker of lakes with ordinary nights, the last of them shifted."""

    def make(nights, **shift):
        lakehouse = open_lakehouse(Settings(var=tmp_path_factory.mktemp("drift")))
        rng = np.random.default_rng(17)
        for table in dict.fromkeys(measure.table for measure in CONFIG.measures):
            rows = []
            for night in nights:
                rows += rows_of(night, table, rng, **(shift if night == nights[-1] else {}))
            lakehouse.table(table).merge(rows)
        return lakehouse

    return make


def told(lakehouse, night):
    found = drift.drift_findings(lakehouse, night)
    return {f.expected.description: f for findings in found.values() for f in findings}


def test_ordinary_nights_are_alike_in_every_measure_and_filter(made):
    found = told(made(NIGHTS), NIGHTS[-1])
    assert len(found) == 2 * len(CONFIG.measures)
    assert [f.observed for f in found.values() if not f.success] == []
    assert {f.expected.severity for f in found.values()} == {"warning"}


def test_planted_drift_is_found_in_its_measure_and_filter_alone(made):
    shifts = {
        "seeing": {1: 2.0}, "zp30": {2: -0.6}, "n_sources": {1: -990}, "n_positive": {2: 400},
        "lost": (0, 1, 2),
    }  # fmt: skip
    found = told(made(NIGHTS, **shifts), NIGHTS[-1])
    assert {words for words, f in found.items() if not f.success} == {
        "Seeing in filter 1 is like that of the nights before",
        "Zero point for 30 s in filter 2 is like that of the nights before",
        "Sources of an image in filter 1 is like that of the nights before",
        "Candidates of a difference in filter 2 is like that of the nights before",
        "Share of images that may be used in filter 1 is like that of the nights before",
        "Share of images that may be used in filter 2 is like that of the nights before",
    }
    seeing = found["Seeing in filter 1 is like that of the nights before"]
    assert "arcsec" in seeing.observed
    assert "the median of 6 nights before" in seeing.observed
    assert seeing.unexpected == seeing.rows == IMAGES - 3


def test_with_fewer_than_three_nights_before_nothing_is_said(made):
    lakehouse = made(NIGHTS[:4], seeing={1: 3.0})
    assert not told(lakehouse, NIGHTS[2])
    assert not told(lakehouse, NIGHTS[0])
    failed = [words for words, f in told(lakehouse, NIGHTS[3]).items() if not f.success]
    assert failed == ["Seeing in filter 1 is like that of the nights before"]


def test_later_nights_have_no_say(made):
    shifted = made(NIGHTS, seeing={1: 3.0, 2: 3.0})
    before = made(NIGHTS[:-1])
    assert told(shifted, NIGHTS[4]).keys() == told(before, NIGHTS[4]).keys()
    assert all(f.success for f in told(shifted, NIGHTS[4]).values())


@given(st.lists(st.floats(1.0, 3.0), min_size=3, max_size=30), st.floats(-0.9, 0.9))
def test_the_usual_scatter_never_falls_below_its_floor_and_moves_with_the_values(values, shift):
    found = drift.usual(np.array(values), SEEING)
    assert found.scatter >= SEEING.floor
    assert found.nights == len(values)
    moved = drift.usual(np.array(values) + shift, SEEING)
    assert moved.value == pytest.approx(found.value + shift)
    assert moved.scatter == pytest.approx(found.scatter)


def test_one_odd_night_before_does_not_hide_another():
    quiet = np.array([2.0] * 9)
    assert drift.usual(np.append(quiet, 9.0), SEEING).scatter == SEEING.floor


def test_findings_join_those_of_the_table():
    check = TableCheck("science_images", 1, 3, ())
    finding = drift._finding(SEEING, 2, 4.0, drift.Usual(2.0, 0.25, 5), 3, 5.0)
    (failed,) = with_findings(check, [finding]).failed
    assert failed.observed == "4 arcsec, 8.0 scatters from 2 arcsec, the median of 5 nights before"
