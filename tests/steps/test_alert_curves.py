"""Alerts of an object as one light curve, whatever the order in which nights are done."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.products.tables import load_table
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
