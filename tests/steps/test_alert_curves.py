"""Alerts of an object as one light curve, whatever the order in which nights are done."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.checks import add_lookups, to_pandas
from zsds_tasks.lakehouse.relations import holds
from zsds_tasks.lakehouse.suites import handwritten_suite
from zsds_tasks.products.tables import conform, load_table
from zsds_tasks.settings import Settings
from zsds_tasks.steps.alerts.curves import gather_alert_curves

NIGHTS = ("20251012", "20251013", "20251015")
NAMES = ("ZTF25aaaaaaa", "ZTF25aaaaaab", "ZTF25aaaaaac")


def filled(name, **given):
    """A row of a table: what is given, and values that its declaration allows elsewhere."""
    simple = {"string": "x", "bool": True, "float64": 1.0, "float32": 1.0}
    row = {}
    for column in load_table(name).columns:
        least = (column.range or (1, None))[0] or 1
        row[column.name] = None if column.nullable else simple.get(column.type, int(least))
    fixed = {"sha256": "0" * 64, "processing_version": "0" * 12}
    return row | {key: value for key, value in fixed.items() if key in row} | given


def alert(name, night, number):
    k = NAMES.index(name)
    rng = np.random.default_rng(number)
    return filled(
        "alerts", objectid=name, candid=1000 * k + number, night=night, jd=2460960.5 + number / 10,
        fid=1 + number % 2, ra=10.0 + 20 / 3600 * k + 0.3 / 3600 * rng.normal(), dec=1.0,
        magpsf=18.0 + number / 100, isdiffpos=number % 3 > 0,
    )  # fmt: skip


@pytest.fixture
def rows():
    """Alerts of two objects in every night and of one in the last, not in order of time."""
    made = [
        alert(name, night, 3 * n + k) for n, night in enumerate(NIGHTS) for name in NAMES[:2] for k in (2, 0)
    ]
    return [*made, alert(NAMES[2], NIGHTS[2], 8)]


@pytest.fixture
def make(tmp_path_factory, rows):
    def made(*order):
        lakehouse = open_lakehouse(Settings(var=tmp_path_factory.mktemp("lake")))
        lakehouse.table("alert_objects").merge(
            [
                filled("alert_objects", objectid=n, ra=10.0 + 20 / 3600 * k, dec=1.0)
                for k, n in enumerate(NAMES)
            ]
        )
        for night in order:
            lakehouse.table("alerts").merge([row for row in rows if row["night"] == night])
            summary = gather_alert_curves(lakehouse, night)
        return lakehouse, summary

    return made


def curves_of(lakehouse):
    return {row["objectid"]: row for row in lakehouse.table("difference_lightcurves").read().to_pylist()}


def test_an_object_has_all_its_alerts_in_order_of_time(make, rows):
    lakehouse, summary = make(*NIGHTS)
    found = curves_of(lakehouse)
    assert (summary.objects, summary.epochs, summary.is_new) == (3, 13, True)
    for name in NAMES:
        mine = sorted((row for row in rows if row["objectid"] == name), key=lambda row: row["jd"])
        row = found[name]
        assert row["nepochs"] == len(mine) == len(row["lightcurve"]["jd"])
        assert row["lightcurve"]["candid"] == [one["candid"] for one in mine]
        assert row["lightcurve"]["isdiffpos"] == [one["isdiffpos"] for one in mine]
        assert np.allclose(row["lightcurve"]["magpsf"], [one["magpsf"] for one in mine])
        assert (row["firstjd"], row["lastjd"]) == (mine[0]["jd"], mine[-1]["jd"])
        assert row["dec"] == 1.0


@pytest.mark.parametrize("order", list(itertools.permutations(NIGHTS))[1:4])
def test_nights_in_any_order_give_the_same_rows(make, order):
    assert curves_of(make(*order)[0]) == curves_of(make(*NIGHTS)[0])


def test_a_second_run_commits_nothing_and_a_night_without_alerts_neither(make):
    lakehouse, _ = make(*NIGHTS)
    version = lakehouse.table("difference_lightcurves").version()
    assert not gather_alert_curves(lakehouse, NIGHTS[0]).is_new
    assert gather_alert_curves(lakehouse, "20251101").objects == 0
    assert lakehouse.table("difference_lightcurves").version() == version


def test_alerts_that_came_after_their_night_was_done_are_gathered_without_naming_it(make, rows):
    lakehouse, _ = make(*NIGHTS[1:])
    lakehouse.table("alerts").merge([row for row in rows if row["night"] == NIGHTS[0]])
    late = gather_alert_curves(lakehouse)
    assert (late.objects, late.is_new) == (2, True)
    assert curves_of(lakehouse) == curves_of(make(*NIGHTS)[0])
    assert gather_alert_curves(lakehouse).objects == 0


def test_alerts_taken_back_leave_their_light_curves(make, rows):
    lakehouse, _ = make(*NIGHTS)
    lakehouse.table("alerts").replace([], {"objectid": NAMES[2]})
    first = curves_of(lakehouse)[NAMES[0]]["lightcurve"]["candid"][0]
    lakehouse.table("alerts").replace([], {"candid": first})
    other = next(row for row in rows if row["candid"] == first) | {"candid": first + 500}
    lakehouse.table("alerts").merge([other])  # as many as before, but another
    assert gather_alert_curves(lakehouse).is_new
    found = curves_of(lakehouse)
    assert set(found) == set(NAMES[:2])
    assert found[NAMES[0]]["lightcurve"]["candid"][0] == first + 500


BROKEN = {
    "Every light curve is of exactly one object that has alerted": {"objectid": "ZTF25zzzzzzz"},
    "The place is that of the object": {"dec": 1.0001},
    "All lists of a light curve are nepochs long": {"nepochs": 7},
    "First and last are those of the alerts": {"lastjd": 2460999.5},
    "A light curve has all alerts of the night": None,
}


def test_every_seeded_defect_is_named_and_good_rows_pass(make):
    lakehouse, _ = make(*NIGHTS)
    suite = handwritten_suite("difference_lightcurves", lakehouse.include)
    tables = {name: lakehouse.table(name).read() for name in ("alerts", "alert_objects")}
    curves = lakehouse.table("difference_lightcurves")

    def failed(row, alerts):
        rows = conform([row], curves.declaration)
        frame = add_lookups(
            to_pandas(rows), suite.meta.lookups, tables | {"alerts": alerts}, subject="curves"
        )
        relations = {e.description: e.kwargs["relation"] for e in suite.expectations}
        return {words for words, relation in relations.items() if not holds(relation, frame, {}).all()}

    row = curves.read().to_pylist()[0]
    assert failed(row, tables["alerts"]) == set()
    for words, change in BROKEN.items():
        alerts = tables["alerts"] if change else pa.concat_tables([tables["alerts"]] * 2)
        assert words in failed(row | (change or {}), alerts)
    assert set(BROKEN) == {e.description for e in suite.expectations}
