"""A night's rows are checked, recorded and shown; a critical failure stops what follows."""

import pytest
from night_builder import NIGHT, Plan, make_night

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.checks import check_night

SMALL = Plan(bias=2, flats=1, science=4)


@pytest.fixture
def settings(tmp_path):
    return Settings(var=tmp_path, camera="mini")


@pytest.fixture
def lakehouse(settings):
    return open_lakehouse(settings)


def test_a_good_night_passes_with_one_warning_for_its_missing_ccd(settings, lakehouse):
    make_night(settings, SMALL).write(lakehouse)
    summary = check_night(lakehouse, "2018-10-13", settings=settings)
    assert [check.table for check in summary.tables] == [
        "quarantine", "raw_exposures", "raw_quadrants", "raw_quality",
    ]  # fmt: skip
    assert summary.failed("critical") == ()
    assert [f.expected.description for _, f in summary.failed("warning")] == [
        "Every CCD of the exposure has arrived"
    ]
    assert summary.passed == summary.total - 1


def test_results_are_rows_and_a_second_run_changes_nothing(settings, lakehouse):
    make_night(settings, SMALL).write(lakehouse)
    summary = check_night(lakehouse, NIGHT, settings=settings)
    results = lakehouse.table("check_results")
    first = results.read()
    assert first.num_rows == summary.total
    assert first.filter(first["success"]).num_rows == summary.passed
    assert set(first["night"].to_pylist()) == {NIGHT}
    check_night(lakehouse, NIGHT, settings=settings)
    assert results.version() == 0 or len(results.history()) == 1 or results.read().equals(first)
    assert len([h for h in results.history() if h["operation"] != "create table"]) == 1


def test_only_the_nights_own_results_are_replaced(settings, lakehouse):
    make_night(settings, SMALL).write(lakehouse)
    check_night(lakehouse, NIGHT, settings=settings)
    make_night(settings, Plan(bias=1, flats=0, science=0, night="20181014", missing_ccd=False)).write(lakehouse)
    check_night(lakehouse, "20181014", settings=settings)
    nights = lakehouse.table("check_results").read(["night"])["night"].to_pylist()
    assert set(nights) == {NIGHT, "20181014"}


def test_data_docs_lie_in_the_nights_report(settings, lakehouse):
    make_night(settings, SMALL).write(lakehouse)
    summary = check_night(lakehouse, NIGHT, settings=settings)
    assert summary.page == f"reports/{NIGHT}/checks/index.html"
    index = lakehouse.storage.read_bytes(summary.page).decode()
    assert "Every CCD of the exposure has arrived" in index
    for check in summary.tables:
        assert lakehouse.storage.exists(f"reports/{NIGHT}/checks/{check.table}.html")
        assert lakehouse.storage.exists(f"reports/{NIGHT}/checks/{check.table}.json")


@pytest.mark.parametrize(
    ("table", "change", "sentence"),
    [
        ("raw_quadrants", {"rcid": 9}, "rcid is 4 (ccdid - 1) + (qid - 1)"),
        ("raw_quadrants", {"hdu": 4}, "The image extension has the quadrant's number"),
        ("raw_quadrants", {"dec": -60.0}, "inside the camera's footprint"),
        ("raw_quadrants", {"sha256": "0" * 64}, "No two raw files have the same bytes"),
        ("raw_exposures", {"nid": 1}, "nid counts the days"),
        ("raw_exposures", {"obsjd": 2458400.5}, "obsjd and obsmjd are the same instant"),
        ("raw_exposures", {"n_ccds": 1}, "has its four rows in raw_quadrants"),
        ("raw_exposures", {"is_science": True}, "Exactly the on-sky frames of science programmes"),
        ("raw_exposures", {"filtercode": "zg"}, "agree on whether there was light"),
        ("raw_quality", {"read_noise": 40.0}, "Read noise is the overscan's noise"),
        ("quarantine", {"facts": "{"}, "The facts of the case are JSON"),
        ("quarantine", {"reason": ""}, "Every refusal says why"),
    ],
)
def test_a_broken_invariant_is_recorded_and_stops_the_night(settings, lakehouse, table, change, sentence):
    night = make_night(settings, SMALL)
    night.tables[table][0].update(change)
    night.write(lakehouse)
    with pytest.raises(UnusableInputError, match="critical expectation") as caught:
        check_night(lakehouse, NIGHT, settings=settings)
    assert sentence in str(caught.value)
    assert f"night {NIGHT}" in str(caught.value)
    assert "checks/index.html" in str(caught.value)
    rows = lakehouse.table("check_results").read(where={"night": NIGHT, "success": False, "severity": "critical"})
    assert any(sentence in told for told in rows["sentence"].to_pylist())
    assert sentence in lakehouse.storage.read_bytes(f"reports/{NIGHT}/checks/{table}.html").decode().replace(
        "&#x27;", "'"
    )


def test_quadrants_without_their_exposure_are_found(settings, lakehouse):
    night = make_night(settings, SMALL)
    night.tables["raw_exposures"].pop()
    night.write(lakehouse)
    with pytest.raises(UnusableInputError, match="belongs to exactly one row of raw_exposures"):
        check_night(lakehouse, NIGHT, settings=settings)


def test_a_night_without_rows_is_nothing_to_do(settings, lakehouse):
    with pytest.raises(NothingToDoError, match="no table has rows of night 20181013"):
        check_night(lakehouse, NIGHT, settings=settings)
    assert not lakehouse.table("check_results").exists()


def test_what_is_no_night_is_refused(settings, lakehouse):
    with pytest.raises(UnusableInputError, match="not an observing night"):
        check_night(lakehouse, "yesterday", settings=settings)
