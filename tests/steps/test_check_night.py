"""A night's rows are checked, recorded and shown; a critical failure stops what follows."""

from dataclasses import dataclass

import pytest
from night_builder import NIGHT, Plan, make_night

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.checks import CheckSummary, check_night

SMALL = Plan(bias=2, flats=1, science=4)


@dataclass
class Checked:
    """A night that was checked once; tests may check again but never change its rows."""

    settings: Settings
    lakehouse: Lakehouse
    summary: CheckSummary


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("checked"), camera="mini")
    lakehouse = open_lakehouse(settings)
    make_night(settings, SMALL).write(lakehouse)
    return Checked(settings, lakehouse, check_night(lakehouse, "2018-10-13", settings=settings))


@pytest.fixture
def settings(tmp_path):
    return Settings(var=tmp_path, camera="mini")


@pytest.fixture
def lakehouse(settings):
    return open_lakehouse(settings)


def test_a_good_night_passes_with_one_warning_for_its_missing_ccd(checked):
    summary = checked.summary
    assert [check.table for check in summary.tables] == [
        "quarantine",
        "raw_exposures",
        "raw_quadrants",
        "raw_quality",
    ]
    assert summary.failed("critical") == ()
    assert [f.expected.description for _, f in summary.failed("warning")] == [
        "Every CCD of the exposure has arrived"
    ]
    assert summary.passed == summary.total - 1


def test_results_are_rows_and_other_nights_keep_theirs(checked):
    results = checked.lakehouse.table("check_results")
    first = results.read(where={"night": NIGHT})
    assert first.num_rows == checked.summary.total
    assert first.filter(first["success"]).num_rows == checked.summary.passed
    other = Plan(bias=1, flats=0, science=0, engineering=0, quarantined=0, night="20181014")
    make_night(checked.settings, other).write(checked.lakehouse)
    check_night(checked.lakehouse, "20181014", settings=checked.settings)
    assert results.read(where={"night": NIGHT}).equals(first)
    assert results.count({"night": "20181014"}) > 0


def test_checking_again_changes_nothing(settings, lakehouse):
    make_night(settings, Plan(bias=1, flats=0, science=0, engineering=0, quarantined=0)).write(lakehouse)
    results = lakehouse.table("check_results")
    check_night(lakehouse, NIGHT, settings=settings)
    version = results.version()
    check_night(lakehouse, NIGHT, settings=settings)
    assert results.version() == version


def test_data_docs_lie_in_the_nights_report(checked):
    summary, storage = checked.summary, checked.lakehouse.storage
    assert summary.page == f"reports/{NIGHT}/checks/index.html"
    assert "Every CCD of the exposure has arrived" in storage.read_bytes(summary.page).decode()
    for check in summary.tables:
        assert storage.exists(f"reports/{NIGHT}/checks/{check.table}.html")
        assert storage.exists(f"reports/{NIGHT}/checks/{check.table}.json")


BROKEN = [
    ("raw_quadrants", {"rcid": 9}, "rcid is 4 (ccdid - 1) + (qid - 1)"),
    ("raw_quadrants", {"hdu": 4}, "The image extension has the quadrant's number"),
    ("raw_quadrants", {"dec": -60.0}, "inside the camera's footprint"),
    ("raw_quadrants", {"sha256": "0" * 64}, "No two raw files have the same bytes"),
    ("raw_quadrants", {"expid": 65099999}, "belongs to exactly one row of raw_exposures"),
    ("raw_exposures", {"nid": 1}, "nid counts the days"),
    ("raw_exposures", {"obsjd": 2458400.5}, "obsjd and obsmjd are the same instant"),
    ("raw_exposures", {"n_ccds": 1}, "has its four rows in raw_quadrants"),
    ("raw_exposures", {"is_science": True}, "Exactly the on-sky frames of science programmes"),
    ("raw_exposures", {"filtercode": "zg"}, "agree on whether there was light"),
    ("raw_quality", {"read_noise": 40.0}, "Read noise is the overscan's noise"),
    ("quarantine", {"facts": "{"}, "The facts of the case are JSON"),
    ("quarantine", {"reason": ""}, "Every refusal says why"),
]


def test_broken_invariants_are_recorded_and_stop_the_night(settings, lakehouse):
    night = make_night(settings, SMALL)
    for table, change, _ in BROKEN:
        night.tables[table][0].update(change)
    night.write(lakehouse)
    with pytest.raises(UnusableInputError, match=r"critical expectations failed: .*; and \d+ more") as caught:
        check_night(lakehouse, NIGHT, settings=settings)
    assert f"night {NIGHT}" in str(caught.value)
    assert "checks/index.html" in str(caught.value)
    broken = {"night": NIGHT, "success": False, "severity": "critical"}
    rows = lakehouse.table("check_results").read(where=broken).to_pylist()
    for table, _, sentence in BROKEN:
        told = [row for row in rows if row["table_name"] == table and sentence in row["sentence"]]
        assert len(told) == 1, sentence
        assert told[0]["unexpected"] > 0
        page = lakehouse.storage.read_bytes(f"reports/{NIGHT}/checks/{table}.html").decode()
        assert sentence in page.replace("&#x27;", "'")


def test_a_night_without_rows_is_nothing_to_do(settings, lakehouse):
    with pytest.raises(NothingToDoError, match="no table has rows of night 20181013"):
        check_night(lakehouse, NIGHT, settings=settings)
    assert not lakehouse.table("check_results").exists()


def test_what_is_no_night_is_refused(settings, lakehouse):
    with pytest.raises(UnusableInputError, match="not an observing night"):
        check_night(lakehouse, "yesterday", settings=settings)
