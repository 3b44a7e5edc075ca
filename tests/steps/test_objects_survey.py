"""Overlapping fields with false zero points come to one scale, and objects with them."""

from __future__ import annotations

import numpy as np
import pytest
from object_rows import MAGERR, NIGHTS, Field, PlantedSky, Truth

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.objects import solve_survey, update_objects

ZERO = {5: {1: 0.03, 2: -0.02}, 6: {1: -0.03, 2: 0.0}, 7: {1: 0.01, 2: 0.03}, 9: {1: 0.0, 2: 0.05}}
FIELDS = tuple(
    Field(number, east, zero=ZERO[number]) for number, east in ((5, -0.11), (6, 0.0), (7, 0.11), (9, 0.6))
)
PLAN = PlantedSky(fields=FIELDS, stars=600, variables=2, epochs=6, unseen=0.0)


def fill(folder, nights):
    settings = Settings(var=folder, camera="mini", workers=1)
    lakehouse, truth = open_lakehouse(settings), Truth(PLAN)
    truth.deliver(lakehouse, nights)
    update_objects(lakehouse, settings)
    return truth, lakehouse, settings


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A survey of three fields in a row and one apart, solved; read only."""
    truth, lakehouse, settings = fill(tmp_path_factory.mktemp("survey"), NIGHTS[:2])
    before = lakehouse.table("objects").read().to_pylist()
    return truth, lakehouse, settings, before, solve_survey(lakehouse, settings)


def remaining(lakehouse, fid):
    """Return what is left of the zero points of the fields that hang together, their mean taken off."""
    rows = lakehouse.table("survey_offsets").read(where={"fid": fid}).to_pylist()
    left = np.array([ZERO[row["field"]][fid] + row["offset_mag"] for row in rows if row["field"] != 9])
    return left - left.mean()


def test_fields_that_overlap_come_to_one_scale(survey):
    _, lakehouse, _, _, summary = survey
    for fid in (1, 2):
        planted = np.array([ZERO[number][fid] for number in (5, 6, 7)])
        assert np.std(planted) > 0.015
        assert np.abs(remaining(lakehouse, fid)).max() < 0.003
    assert summary.units == 8
    assert summary.scatter_before > 0.008
    # What epochs leave uncertain in a mean, not more.
    assert summary.scatter_after < 1.5 * MAGERR / np.sqrt(12)


def test_a_field_apart_keeps_the_catalogue_and_says_so(survey):
    _, lakehouse, _, _, summary = survey
    rows = {(r["field"], r["fid"]): r for r in lakehouse.table("survey_offsets").read().to_pylist()}
    for fid in (1, 2):
        apart = rows[9, fid]
        assert apart["offset_mag"] == pytest.approx(0.0, abs=1e-6)
        assert apart["stars"] == 0
        assert apart["scatter_before"] is None
        tied = [rows[number, fid] for number in (5, 6, 7)]
        assert len({row["component"] for row in tied}) == 1
        assert apart["component"] != tied[0]["component"]
        assert all(row["stars"] > 20 for row in tied)
        # Priors of 0.03 and 0.02 mag, shared by three fields or alone; 16 draws tell an error to 18 %.
        assert apart["offset_error"] == pytest.approx(0.036, rel=0.6)
        assert [row["offset_error"] for row in tied] == pytest.approx([0.021] * 3, rel=0.6)
    assert summary.components == 4


def test_objects_take_the_newest_offsets_and_agree_across_fields(survey):
    truth, lakehouse, settings, before, _ = survey
    update_objects(lakehouse, settings)
    star_of = truth.star_of()

    def jump(rows):
        """Return how much brighter stars of field 7 alone come out than those of field 5 alone, in r."""
        off = {5: [], 7: []}
        for row in rows:
            fields = set(row["members"]["fieldid"])
            if len(fields) == 1 and fields <= off.keys() and row["r_nobs"] and not row["is_candidate"]:
                off[fields.pop()].append(row["r_meanmag"] - truth.mag[star_of[row["objectid"]]])
        return np.mean(off[7]) - np.mean(off[5])

    assert jump(before) == pytest.approx(0.05, abs=0.003)
    assert jump(lakehouse.table("objects").read().to_pylist()) == pytest.approx(0.0, abs=0.004)


def test_the_same_light_curves_are_solved_once(survey):
    _, lakehouse, settings, _, summary = survey
    version = lakehouse.table("survey_offsets").version()
    again = solve_survey(lakehouse, settings)
    assert again.solution == summary.solution == 1
    assert "same light curves" in again.reason
    assert lakehouse.table("survey_offsets").version() == version


def test_the_solution_does_not_know_in_which_order_nights_came(survey, tmp_path):
    _, lakehouse, _, _, _ = survey
    truth, other, settings = fill(tmp_path, NIGHTS[1:2])
    assert solve_survey(other, settings).solution == 1
    update_objects(other, settings)
    truth.deliver(other, NIGHTS[:2])
    update_objects(other, settings)
    assert solve_survey(other, settings).solution == 2
    rows = [
        [{k: v for k, v in row.items() if k != "solution"} for row in lake.table("survey_offsets").read(
            where={"solution": number}).to_pylist()]
        for lake, number in ((lakehouse, 1), (other, 2))
    ]  # fmt: skip
    assert rows[0] == rows[1]
    assert other.table("survey_offsets").count({"solution": 1}) == 8


def test_a_survey_of_nothing_has_nothing_to_do(tmp_path):
    settings = Settings(var=tmp_path, camera="mini", workers=1)
    summary = solve_survey(open_lakehouse(settings), settings)
    assert (summary.solution, summary.units) == (0, 0)
    assert "no unit" in summary.reason
