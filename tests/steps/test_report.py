"""The night report: right numbers, every section, and pages for nights where little or nothing happened."""

import datetime as dt
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from night_builder import NIGHT, Plan, make_night

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.report import build_report, gather, night_summary
from zsds_tasks.steps.report.gather import kind_of
from zsds_tasks.steps.report.words import enumerated, plural, size
from zsds_tasks.survey.survey import load_survey

NOW = dt.datetime(2018, 10, 13, 15, tzinfo=dt.UTC)
FULL = Plan(bias=3, flats=3, science=8, engineering=1)
SCORE = {
    "sentence": "Planted against found.",
    "measures": [
        {"measure": "Files", "value": 31, "target": 31, "ok": True, "sentence": "All are there."},
        {"measure": "Faults", "value": 2, "target": 3, "ok": False, "sentence": "One <slipped> through."},
    ],
}


@dataclass
class Reported:
    settings: Settings
    lakehouse: Lakehouse
    path: str
    html: str


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("report"), camera="mini")
    lakehouse = open_lakehouse(settings)
    make_night(settings, FULL, pixels=True).write(lakehouse)
    earlier = Plan(bias=1, flats=0, science=3, engineering=0, quarantined=0, night="20181011", seed=6)
    make_night(settings, earlier).write(lakehouse)
    build_report(lakehouse, settings, "20181011", now=NOW)
    make_night(settings, replace(earlier, night="20181012", seed=7)).write(lakehouse)
    path = build_report(lakehouse, settings, NIGHT, now=NOW, score=SCORE)
    return Reported(settings, lakehouse, path, lakehouse.storage.read_bytes(path).decode())


@pytest.fixture
def settings(tmp_path):
    return Settings(var=tmp_path, camera="mini")


def written(settings, plan, **more):
    lakehouse = open_lakehouse(settings)
    make_night(settings, plan, **more).write(lakehouse)
    path = build_report(lakehouse, settings, plan.night, now=NOW)
    return lakehouse, lakehouse.storage.read_bytes(path).decode()


def test_the_page_lies_where_the_night_is(reported):
    assert reported.path == f"reports/{NIGHT}/index.html"
    for picture in ("focal-plane.png", "coverage.png"):
        data = reported.lakehouse.storage.read_bytes(f"reports/{NIGHT}/{picture}")
        assert data.startswith(b"\x89PNG")


def test_the_page_is_complete_without_a_network(reported):
    assert "http://" not in reported.html
    assert "https://" not in reported.html
    assert "<script" not in reported.html
    links = set(re.findall(r'(?:href|src)="((?!data:)[^"]+)"', reported.html))
    assert links == {"../20181011/index.html"}  # not checked yet, and 20181012 has no report
    assert "20181012" in reported.html
    assert "default-src 'none'" in reported.html


def test_headline_and_numbers(reported):
    html = reported.html
    assert "Night of 12 to 13 October 2018" in html
    assert "8 science exposures of 4 fields in g, r and i; 29 files archived and 3 refused." in html
    assert "The night has not been checked yet; 1 exposure lacks CCDs." in html
    assert "3 bias, 3 flat" in html


def test_every_section_is_there(reported):
    anchors = re.findall(r'<section id="([^"]+)"', reported.html)
    assert anchors == [
        "night",
        "focal-plane",
        "sky",
        "trends",
        "masters",
        "incomplete",
        "quarantine",
        "checks",
        "truth",
        "earlier",
    ]
    assert reported.html.count("<svg") == 5


def test_the_truth_is_shown_and_escaped(reported):
    assert "One &lt;slipped&gt; through." in reported.html
    assert reported.html.count(">met<") == 1
    assert reported.html.count(">missed<") == 1


def test_refused_files_carry_reason_and_remedy(reported):
    assert "header contract" in reported.html
    assert "ask for the file to be delivered again" in reported.html


def test_the_same_rows_and_clock_give_the_same_page(reported):
    build_report(reported.lakehouse, reported.settings, NIGHT, now=NOW, score=SCORE)
    assert reported.lakehouse.storage.read_bytes(reported.path).decode() == reported.html


def test_the_summary_for_a_console(reported):
    summary = night_summary(reported.lakehouse, NIGHT)
    assert summary["exposures"] == 15
    assert summary["science_by_filter"] == {"g": 3, "r": 3, "i": 2}
    assert summary["calibration"] == {"bias": 3, "flat": 3}
    assert (summary["engineering"], summary["incomplete"], summary["fields"]) == (1, 1, 4)
    assert (summary["files"], summary["quarantined"]) == (29, 3)
    assert summary["quarantined_by_code"] == {"truncated": 1, "header_contract": 1, "conflict": 1}
    assert summary["checks"] == 0
    # 8 x 30 s in the 7 x 5 min + 47 min between the first and last opening, and the last 30 s
    assert np.isclose(summary["open_shutter_fraction"], 240 / (82 * 60 + 30))


def test_a_night_without_anything(settings):
    lakehouse = open_lakehouse(settings)
    path = build_report(lakehouse, settings, NIGHT, now=NOW)
    html = lakehouse.storage.read_bytes(path).decode()
    assert "Nothing arrived this night." in html
    assert "No exposure was archived." in html
    assert "No file was refused." in html
    assert not lakehouse.storage.exists(f"reports/{NIGHT}/focal-plane.png")
    assert night_summary(lakehouse, NIGHT)["open_shutter_fraction"] is None


def test_a_night_of_bias_frames_whose_files_are_gone(settings):
    plan = Plan(bias=3, flats=0, science=0, engineering=0, quarantined=0)
    lakehouse, html = written(settings, plan)
    assert "No science exposure, 3 other frames; 6 files archived, none refused." in html
    assert "It cannot be shown. Gone from the archive or spoilt: ztf_20181013" in html
    assert '<section id="sky"' not in html
    assert not lakehouse.storage.exists(f"reports/{NIGHT}/coverage.png")


def test_a_night_where_everything_was_refused(settings):
    plan = Plan(bias=0, flats=0, science=0, engineering=0, quarantined=2)
    _, html = written(settings, plan)
    assert "Nothing was archived; refused: 2 files." in html


def test_a_night_not_yet_measured(settings):
    lakehouse = open_lakehouse(settings)
    night = make_night(settings, Plan(bias=0, flats=0, science=2, engineering=0, missing_ccd=False))
    night.tables["raw_quality"] = []
    night.write(lakehouse)
    html = lakehouse.storage.read_bytes(build_report(lakehouse, settings, NIGHT, now=NOW)).decode()
    assert "No raw frame has been measured yet." in html


def test_names_from_outside_are_escaped(settings):
    lakehouse = open_lakehouse(settings)
    night = make_night(settings, Plan(bias=1, flats=0, science=0, engineering=0, quarantined=1))
    night.tables["quarantine"][0] |= {"filename": "<img src=x>.fits", "reason": "<script>alert(1)</script>"}
    night.write(lakehouse)
    html = lakehouse.storage.read_bytes(build_report(lakehouse, settings, NIGHT, now=NOW)).decode()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_check_results_are_told_by_table(settings):
    lakehouse = open_lakehouse(settings)
    make_night(settings, Plan(bias=1, flats=0, science=2, engineering=0)).write(lakehouse)
    row = {
        "night": NIGHT,
        "table_name": "raw_exposures",
        "table_version": 0,
        "expectation": "expect_rows_to_satisfy",
        "column_name": None,
        "origin": "suite",
        "rows": 3,
    }
    outcomes = [("critical", True), ("critical", False), ("warning", False)]
    lakehouse.table("check_results").merge(
        [
            row
            | {"expectation_id": f"{n:012x}", "sentence": f"Law {n}", "severity": severity}
            | {"success": good, "unexpected": 0 if good else 1, "observed": None if good else "1 of 3 rows"}
            for n, (severity, good) in enumerate(outcomes)
        ]
    )
    html = lakehouse.storage.read_bytes(build_report(lakehouse, settings, NIGHT, now=NOW)).decode()
    assert "1 of 3" in html
    assert "1 critical check failed" in html
    assert "Law 1" in html
    assert "Law 0" not in html
    assert 'href="checks/index.html"' in html
    summary = night_summary(lakehouse, NIGHT)
    assert (summary["checks"], summary["checks_passed"]) == (3, 1)
    assert (summary["checks_critical"], summary["checks_warning"]) == (1, 1)


def test_rows_of_the_night_come_in_order_of_time(reported):
    facts = gather(reported.lakehouse, "2018-10-13")
    assert facts.exposures["obsjd"].is_monotonic_increasing
    assert facts.missing_ccds(int(facts.incomplete["expid"].iloc[0])) == [2]


def test_kinds_of_exposure(settings):
    survey = load_survey("ztf", settings.include)
    assert kind_of(survey, "b", "OO", is_science=False) == "bias"
    assert kind_of(survey, "f", "zg", is_science=False) == "flat"
    assert kind_of(survey, "o", "zr", is_science=True) == "zr"
    assert kind_of(survey, "o", "zr", is_science=False) == "engineering"
    assert kind_of(survey, "?", "zr", is_science=False) == "engineering"


def test_words():
    assert [enumerated(w) for w in ([], ["g"], ["g", "r"], ["g", "r", "i"])] == [
        "",
        "g",
        "g and r",
        "g, r and i",
    ]
    assert [plural(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
    sizes = [size(n) for n in (0, 999, 1500, 123_456, 7_640_000, 1_220_000_000, 3_000_000_000_000)]
    assert sizes == ["0 B", "999 B", "1.5 kB", "123 kB", "7.6 MB", "1.2 GB", "3.0 TB"]
