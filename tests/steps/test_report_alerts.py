"""What the night report shows of differences and alerts."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from candidate_rows import NIGHT, blank, pid_of, with_fault, write_lake, write_sky

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.science.alerts.cutouts import encode_stamp
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.score_candidates import assess_candidates, with_candidates
from zsds_tasks.steps.report.alerts import BEST, LISTED, WORST, alert_pages
from zsds_tasks.steps.report.alerts_curves import alert_curves
from zsds_tasks.steps.report.alerts_data import alert_rows
from zsds_tasks.steps.report.build import build_report
from zsds_tasks.steps.report.gather import gather
from zsds_tasks.survey.filenames import ScienceSuffix

NOW = dt.datetime(2025, 10, 13, 1, tzinfo=dt.UTC)
SUFFIXES = (ScienceSuffix.DIFFERENCE, ScienceSuffix.CUTOUTS)
DIFFERENCE = "sci/2025/1012/110000/ztf_20251012110000_000004_zr_c01_o_q1_scimrefdiffimg.fits.fz"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lake whose night has alerts, its score, and where it is."""
    settings = Settings(var=tmp_path_factory.mktemp("alerts"), camera="mini", workers=1)
    lakehouse = open_lakehouse(settings)
    planted = write_sky(settings.truth_folder, count=60)
    write_lake(lakehouse, planted, with_fault(scores=True))
    score = assess_candidates(lakehouse, settings.truth_folder, NIGHT)
    return settings, lakehouse, with_candidates({"measures": [], "sentence": "Simulated."}, score)


def pages(made, score=None):
    settings, lakehouse, _ = made
    return alert_pages(lakehouse, gather(lakehouse, str(NIGHT), camera=settings.camera), score)


def test_the_table_is_bounded_and_says_what_alerts_really_are(made):
    html = pages(made, made[2]).html
    total = made[1].table("alerts").count()
    assert total > LISTED
    assert html.count('<span class="tag good">transient</span>') == LISTED
    assert f"and {total - LISTED} more" in html
    assert "Really" not in pages(made).html
    assert "ZTF25" in html


def test_alert_rows_are_for_the_console(made):
    rows = alert_rows(made[1], str(NIGHT))
    assert len(rows) == made[1].table("alerts").count()
    assert [row["scorr"] for row in rows] == sorted((row["scorr"] for row in rows), reverse=True)
    assert {"objectid", "candid", "jd", "fid", "field", "magpsf", "drb", "ndethist"} <= set(rows[0])
    assert alert_rows(made[1], str(NIGHT), most=3) == rows[:3]
    assert alert_rows(made[1], "20200101") == []


def test_curves_and_the_budget_come_from_the_score(made):
    html = pages(made, made[2]).html
    assert "What candidates are" in html
    assert "with drb of 0.5 or more" in html
    assert "What the triggering criteria refuse" in html
    assert alert_curves(None) == alert_curves({}) == ""
    assert "How true the candidates are" not in pages(made).html


def test_quality_of_difference_images_and_the_map(made):
    html = pages(made).html
    assert "Median 0.990 of 4 images" in html
    assert "1·q1: " in html
    assert html.count("not subtracted") == 6
    assert "NaN" not in html
    assert "nan" not in html


def test_stamps_of_the_best_and_the_worst(made, tmp_path):
    settings, lakehouse, score = made
    place = open_lakehouse(settings.model_copy(update={"var": tmp_path}))
    for name in ("candidates", "alerts"):
        place.table(name).merge(lakehouse.table(name).read())
    stamp = encode_stamp(np.random.default_rng(1).normal(0, 3, (63, 63)).astype(np.float32))
    rows = lakehouse.table("difference_images").read().to_pylist()
    for k, row in enumerate(rows):
        candids = lakehouse.table("alerts").read(["candid"], {"pid": row["pid"]})["candid"]
        table = pa.table(
            {"candid": candids} | dict.fromkeys(("science", "template", "difference"), [stamp] * len(candids))
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        path = DIFFERENCE.replace("110000_000004", f"11000{k}_000004")
        digest = hashlib.sha256(sink.getvalue()).hexdigest()
        place.storage.put_bytes_atomically(
            sink.getvalue(), path.replace(ScienceSuffix.DIFFERENCE.value, ScienceSuffix.CUTOUTS.value)
        )
        row |= {"path": path, "products": [f"{digest} {suffix.value}" for suffix in SUFFIXES]}
    place.table("difference_images").merge(rows)
    shown = pages((settings, place, score), score)
    assert {BEST, WORST} == set(shown.files)
    assert all(data.startswith(b"\x89PNG") and len(data) > 3000 for data in shown.files.values())
    assert shown.html.count("data:image/png") == 2
    assert gzip.decompress(stamp).startswith(b"SIMPLE")


def test_stamps_that_are_gone_are_left_out(made):
    assert pages(made).files == {}


def test_a_night_whose_images_all_failed(made, tmp_path):
    settings = made[0].model_copy(update={"var": tmp_path})
    lakehouse = open_lakehouse(settings)
    known = {"pid": pid_of(320911000, 0), "expid": 320911000, "rcid": 0, "status": 0, "stage": "subtract",
             "reason": "overlap <30 %", "ra": 1.0, "rfversion": 1, "pass_number": 1}  # fmt: skip
    lakehouse.table("difference_images").merge([blank(lakehouse, "difference_images", known)])
    html = pages((settings, lakehouse, None)).html
    assert "Nothing triggered an alert" in html
    assert "overlap &lt;30 %" in html


def test_the_page_has_the_sections_where_there_are_differences(made, settings):
    assert pages((settings, open_lakehouse(settings), None)).html == ""
    path = build_report(made[1], made[0], str(NIGHT), now=NOW, score=made[2])
    page = made[1].storage.read_bytes(path).decode()
    order = [page.index(f'id="{name}"') for name in ("alerts", "differences", "candidate-truth", "truth")]
    assert order == sorted(order)
