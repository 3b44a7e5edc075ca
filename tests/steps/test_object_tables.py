"""Objects of a small sky: a function of what was observed, whatever the order it came in."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil

import numpy as np
import pyarrow as pa
import pytest
from object_rows import MAGERR, NIGHTS, Field, PlantedSky, Truth

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.science.matching.config import GroupingConfig
from zsds_tasks.science.matching.group import group
from zsds_tasks.science.matching.rows import Seeds
from zsds_tasks.science.matching.score import score_objects
from zsds_tasks.settings import Settings
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.steps.objects import run, update_objects
from zsds_tasks.steps.objects.configuration import ObjectsConfig, PixelsConfig

TABLES = (*run.UNIT_TABLES, *run.PIXEL_TABLES)
FEW = PlantedSky(stars=70, variables=1, epochs=12, fids=(2,))
NOW = dt.datetime(2025, 10, 15, tzinfo=dt.UTC)
AFAR = (Field(5, -0.06), Field(6, 0.06), Field(7, 0.3))


@pytest.fixture
def lake(tmp_path_factory):
    """Return a maker of empty lakes."""

    def made():
        settings = Settings(var=tmp_path_factory.mktemp("lake"), camera="mini", workers=1)
        return open_lakehouse(settings), settings

    return made


@pytest.fixture
def make(lake):
    """Return a maker of lakes to which nights come in portions, objects made after each."""

    def made(truth, *portions):
        lakehouse, settings = lake()
        there: list[str] = []
        for nights in portions:
            there += nights
            truth.deliver(lakehouse, tuple(there))
            assert update_objects(lakehouse, settings).failed == ()
        return lakehouse, settings

    return made


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """Return what the tables hold when some nights of the small sky came at once, and a lake of that."""
    known = {}

    def built(nights):
        if nights not in known:
            settings = Settings(var=tmp_path_factory.mktemp("rebuilt"), camera="mini", workers=1)
            lakehouse = open_lakehouse(settings)
            Truth(FEW).deliver(lakehouse, nights)
            update_objects(lakehouse, settings)
            known[nights] = settings.var, content(lakehouse)
        return known[nights]

    return built


@pytest.fixture
def first_night(rebuilt, tmp_path):
    """A lake of the small sky after its first night, to be changed."""
    shutil.copytree(rebuilt(NIGHTS[:1])[0], tmp_path / "lake")
    settings = Settings(var=tmp_path / "lake", camera="mini", workers=1)
    return open_lakehouse(settings), settings


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A sky with variables, its objects, and the lake they lie in; read only."""
    settings = Settings(var=tmp_path_factory.mktemp("sky"), camera="mini", workers=1)
    lakehouse, truth = open_lakehouse(settings), Truth()
    truth.deliver(lakehouse, NIGHTS)
    update_objects(lakehouse, settings)
    return truth, lakehouse, lakehouse.table("objects").read().to_pylist()


def content(lakehouse):
    return {name: str(lakehouse.table(name).read().to_pylist()) for name in TABLES}


def versions(lakehouse):
    return {name: lakehouse.table(name).version() for name in TABLES}


def score(truth, objects):
    """Hold objects against the stars of their members."""
    star_of = truth.star_of()
    pairs = [(star_of[k], row["objectid"]) for row in objects for k in row["members"]["objectid"]]
    return score_objects(*np.array(pairs, np.int64).T)


def test_increments_in_any_order_are_what_a_rebuild_gives(make, rebuilt):
    _, whole = rebuilt(NIGHTS)
    assert content(make(Truth(FEW), *((night,) for night in NIGHTS))[0]) == whole
    assert content(make(Truth(FEW), NIGHTS[2:], NIGHTS[:2])[0]) == whole


def test_what_is_up_to_date_is_left_alone(first_night):
    lakehouse, settings = first_night
    before = versions(lakehouse)
    again = update_objects(lakehouse, settings)
    assert (again.units, again.pixels) == (0, 0)
    assert "up to date" in again.reason
    assert versions(lakehouse) == before


@pytest.mark.parametrize("table", TABLES)
def test_killed_before_a_commit_and_run_again_it_is_as_if_undisturbed(
    first_night, rebuilt, monkeypatch, table
):
    disturbed, settings = first_night
    Truth(FEW).deliver(disturbed, NIGHTS[:2])
    real = run._replace

    def killed(lakehouse, name, batch):
        if name == table:
            raise KeyboardInterrupt
        real(lakehouse, name, batch)

    monkeypatch.setattr(run, "_replace", killed)
    with pytest.raises(KeyboardInterrupt):
        update_objects(disturbed, settings)
    monkeypatch.undo()
    update_objects(disturbed, settings)
    assert content(disturbed) == rebuilt(NIGHTS[:2])[1]


def test_a_night_touches_only_the_pixels_it_falls_in(lake):
    plan = PlantedSky(stars=120, variables=0, epochs=4, fields=AFAR, fids=(2,))
    truth, (lakehouse, settings) = Truth(plan), lake()
    truth.deliver(lakehouse, NIGHTS[:1])
    update_objects(lakehouse, settings)
    before = {row["pixel"]: row["state"] for row in lakehouse.table("object_pixels").read().to_pylist()}
    truth.units = {key: unit for key, unit in truth.units.items() if key[0] == 7}
    truth.deliver(lakehouse, NIGHTS[:2])
    summary = update_objects(lakehouse, settings)
    after = {row["pixel"]: row["state"] for row in lakehouse.table("object_pixels").read().to_pylist()}
    changed = {pixel for pixel in after if after[pixel] != before[pixel]}
    assert (summary.units, summary.pixels) == (1, 1) == (1, len(changed))
    assert len(before) == 4


def test_no_star_is_split_or_merged_across_borders_of_fields_and_pixels(sky):
    truth, _, objects = sky
    found = score(truth, objects)
    assert (found.split, found.merged, found.stray) == (0, 0, 0)
    assert found.stars == len(objects)
    assert len({row["pixel"] for row in objects}) == 4
    assert len({row["objectid"] for row in objects}) == len(objects)
    overlap = [row for row in objects if len(set(row["members"]["fieldid"])) == 2]
    assert len(overlap) > 20
    assert all(row["nmembers"] == len(row["members"]["objectid"]) == 4 for row in overlap)


@pytest.mark.parametrize("motion", [0.0, 10_000.0])
def test_pixel_by_pixel_they_are_the_groups_of_the_whole_sky(make, motion):
    """Fast stars cross borders between the epochs of their seeds, and are compared where they once stood."""
    plan = PlantedSky(stars=300, variables=0, epochs=4, proper_motion=motion)
    lakehouse, _ = make(Truth(plan), NIGHTS[:1])
    rows = lakehouse.table("seeds").read()
    names = {name: "sigpos" if name == "sigma" else name for name in Seeds.__dataclass_fields__}
    seeds = Seeds(**{name: np.array(rows[column].to_numpy()) for name, column in names.items()})
    groups = group(seeds, GroupingConfig())
    expected = dict(zip(seeds.objectid.tolist(), groups.objectid.tolist(), strict=True))
    seen = set(lakehouse.table("lightcurves").read(["objectid"])["objectid"].to_pylist())
    shown = {expected[objectid] for objectid in seen}
    found = {
        member: row["objectid"]
        for row in lakehouse.table("objects").read(["objectid", "members"]).to_pylist()
        for member in row["members"]["objectid"]
    }
    assert found == {member: name for member, name in expected.items() if name in shown}


def test_variables_are_found_with_their_periods_and_no_other_star_is(sky):
    truth, _, objects = sky
    star_of = truth.star_of()
    found = {star_of[row["objectid"]]: row for row in objects if row["is_candidate"]}
    assert set(found) == set(range(truth.plan.variables))
    for star, row in found.items():
        assert row["period"] == pytest.approx(truth.period[star], rel=1e-3)
        assert abs(row["period"] - truth.period[star]) < 5 * row["period_error"]
        assert 0.64 < row["period_amplitude"] < 0.92  # between those of the two filters
        assert row["log_false_alarm"] < -10
        assert not row["is_suspect"]
        assert len(row["alias_periods"]) == len(row["alias_scores"])
        assert all(score > row["period_score"] - 20 for score in row["alias_scores"])
        assert row["period"] not in row["alias_periods"]
    for row in objects:
        if not row["is_candidate"]:
            assert row["period"] is row["alias_periods"] is row["alias_scores"] is None


def test_places_and_magnitudes_are_those_of_the_stars(sky):
    truth, lakehouse, objects = sky
    star = np.array([truth.star_of()[row["objectid"]] for row in objects])
    apart = 3600 * separation_deg(
        np.array([row["ra"] for row in objects]), np.array([row["dec"] for row in objects]),
        truth.ra[star], truth.dec[star],
    )  # fmt: skip
    sigma = np.array([row["sigpos"] for row in objects])
    assert np.mean((apart / sigma) ** 2) == pytest.approx(2.0, abs=0.5)
    constant = [row for row in objects if not row["is_candidate"]]
    for band, shift in (("g", 0.5), ("r", 0.0)):
        seen = [row for row in constant if row[f"{band}_ngoodobs"]]
        error = [row[f"{band}_meanmag"] - truth.mag[truth.star_of()[row["objectid"]]] - shift for row in seen]
        pulls = np.array(error) / (MAGERR / np.sqrt([row[f"{band}_ngoodobs"] for row in seen]))
        assert np.std(pulls) == pytest.approx(1.0, abs=0.2)
        assert np.mean([row[f"{band}_chisq"] for row in seen]) == pytest.approx(1.0, abs=0.06)
        # 5 to 95 per cent of a normal distribution: 3.29 sigma.
        assert np.median([row[f"{band}_amplitude"] for row in seen]) == pytest.approx(3.29 * MAGERR, rel=0.1)
    assert all(row["i_nobs"] == 0 and row["i_meanmag"] is None for row in objects)
    curves = lakehouse.table("lightcurves").read(["objectid", "nepochs"]).to_pylist()
    assert sum(row["nobs"] for row in objects) == sum(row["nepochs"] for row in curves)
    assert all(sum(row["members"]["nepochs"]) == row["nobs"] for row in objects)


def test_every_light_curve_has_its_statistics(sky):
    _, lakehouse, _ = sky
    rows = {row["objectid"]: row for row in lakehouse.table("lightcurve_statistics").read().to_pylist()}
    curves = lakehouse.table("lightcurves").read().to_pylist()
    assert set(rows) == {curve["objectid"] for curve in curves}
    for curve in curves[::25]:
        row, mag = rows[curve["objectid"]], np.array(curve["lightcurve"]["mag"])
        mag = mag[np.array(curve["lightcurve"]["catflags"]) == 0]
        assert row["nobs"] == curve["nepochs"]
        assert row["ngoodobs"] == len(mag) < row["nobs"]
        assert row["meanmag"] == pytest.approx(mag.mean(), abs=2e-6)
        assert row["magrms"] == pytest.approx(mag.std(ddof=1), rel=1e-4)
        assert row["percentiles"] == pytest.approx(
            np.percentile(mag, [5, 10, 17.5, 25, 32.5, 40, 60, 67.5, 75, 82.5, 90, 95]), abs=3e-6
        )
        assert (row["fieldid"], row["filterid"]) == (curve["fieldid"], curve["filterid"])


def test_offsets_of_a_survey_move_objects_and_only_those_they_concern(make):
    plan = PlantedSky(stars=120, variables=0, epochs=4, fields=AFAR, fids=(2,))
    lakehouse, settings = make(Truth(plan), NIGHTS[:1])
    before = {row["objectid"]: row for row in lakehouse.table("objects").read().to_pylist()}
    common = {"solution": 1, "rcid": 5, "offset_error": 0.001, "component": 0, "stars": 50}
    shifts = {5: 0.0, 6: 0.0, 7: 0.25}
    rows = [
        common | {"field": field, "fid": fid, "offset_mag": shift, "scatter_before": None,
                  "scatter_after": None, "night": NIGHTS[0], "state": "0" * 12}
        for (field, shift), fid in itertools.product(shifts.items(), (2,))
    ]  # fmt: skip
    lakehouse.table("survey_offsets").merge(rows)
    assert update_objects(lakehouse, settings).pixels == 1
    for row in lakehouse.table("objects").read().to_pylist():
        moved = row["r_meanmag"] - before[row["objectid"]]["r_meanmag"] if row["r_nobs"] else 0.0
        only = set(row["members"]["fieldid"]) == {7}
        assert moved == pytest.approx(0.25 if only else 0.0, abs=1e-5) or not (
            only or 7 not in row["members"]["fieldid"]
        )


def test_pixels_of_another_order_take_the_place_of_all(first_night, rebuilt):
    lakehouse, settings = first_night
    whole = lakehouse.table("objects").read().drop_columns(["pixel"])
    coarse = ObjectsConfig(pixels=PixelsConfig(healpix_order=3))
    assert update_objects(lakehouse, settings, config=coarse).failed == ()
    assert lakehouse.table("object_pixels").read(["healpix_order"])["healpix_order"].to_pylist() == [3]
    assert lakehouse.table("objects").read().drop_columns(["pixel"]).equals(whole)
    update_objects(lakehouse, settings)
    assert content(lakehouse) == rebuilt(NIGHTS[:1])[1]


def test_a_unit_that_is_no_more_goes_with_its_objects(make):
    plan = PlantedSky(stars=120, variables=0, epochs=4, fields=AFAR, fids=(2,))
    truth = Truth(plan)
    lakehouse, settings = make(truth, NIGHTS[:1])
    for table, name in (("matched_units", "field"), ("seeds", "field"), ("lightcurves", "fieldid")):
        lakehouse.table(table).delete({name: 7})
    assert update_objects(lakehouse, settings).failed == ()
    truth.units = {key: unit for key, unit in truth.units.items() if key[0] != 7}
    assert content(lakehouse) == content(make(truth, NIGHTS[:1])[0])
    for table, name in (("matched_units", "field"), ("seeds", "field"), ("lightcurves", "fieldid")):
        lakehouse.table(table).delete({name: [5, 6]})
    update_objects(lakehouse, settings)
    assert not any(lakehouse.table(name).count() for name in TABLES)


def test_a_pixel_that_fails_is_told_stops_no_other_and_stays_due(first_night, rebuilt, monkeypatch):
    lakehouse, settings = first_night
    Truth(FEW).deliver(lakehouse, NIGHTS[:2])
    real, seen = run.make_objects, []

    def fails_once(lake, settings, work, config):
        seen.append(work.pixel)
        if len(seen) == 2:
            raise ValueError("a defect")
        return real(lake, settings, work, config)

    monkeypatch.setattr(run, "make_objects", fails_once)
    summary = update_objects(lakehouse, settings)
    assert summary.pixels == 3
    (told,) = summary.failed
    assert "a defect" in told
    assert str(seen[1]) in told
    assert update_objects(lakehouse, settings).pixels == 1
    assert content(lakehouse) == rebuilt(NIGHTS[:2])[1]


def test_a_unit_that_fails_is_told_and_stays_due(first_night, rebuilt, monkeypatch):
    lakehouse, settings = first_night
    Truth(FEW).deliver(lakehouse, NIGHTS[:2])
    real, seen = run.measure_curves, []

    def fails_once(lake, work, config):
        seen.append(work.key)
        if len(seen) == 2:
            raise ValueError("a defect")
        return real(lake, work, config)

    monkeypatch.setattr(run, "measure_curves", fails_once)
    (told,) = update_objects(lakehouse, settings).failed
    assert "a defect" in told
    assert str(seen[1]) in told
    assert update_objects(lakehouse, settings).units == 1
    assert content(lakehouse) == rebuilt(NIGHTS[:2])[1]


def test_a_light_curve_not_measured_yet_takes_nothing_from_others(first_night):
    """Rows that a run of light curves adds while objects are made have no statistics yet."""
    lakehouse, settings = first_night
    before = {row["objectid"]: row for row in lakehouse.table("objects").read().to_pylist()}
    late, lost = lakehouse.table("lightcurves").read(["objectid", "nepochs"]).to_pylist()[3].values()
    lakehouse.table("lightcurve_statistics").delete({"objectid": late})
    for name in lakehouse.table("object_pixels").read(["pixel"])["pixel"].to_pylist():
        lakehouse.table("object_pixels").delete({"pixel": name})  # all are due again
    assert update_objects(lakehouse, settings).pixels == 4
    after = lakehouse.table("objects").read().to_pylist()
    told = {row["objectid"]: row["nobs"] for row in after}
    for name, known in before.items():
        if late in known["members"]["objectid"]:
            assert told.get(name, 0) == known["nobs"] - lost
    others = [row for row in after if late not in before[row["objectid"]]["members"]["objectid"]]
    assert len(others) >= len(before) - 1
    for row in others:
        assert row == before[row["objectid"]]


def test_what_is_known_of_a_place_comes_from_catalogues_and_alerts(first_night):
    truth, (lakehouse, settings) = Truth(FEW), first_night
    before = lakehouse.table("objects").read().to_pylist()
    assert all(row["gaia_id"] is None for row in before)
    varied = {row["objectid"] for row in before if row["is_candidate"]}
    assert varied
    gaia = pa.table({
        "source_id": 1000 + np.arange(len(truth.ra)), "ra": truth.ra, "dec": truth.dec, "pmra": truth.pmra,
        "pmdec": truth.pmdec, "phot_g_mean_mag": truth.mag, "bp_rp": np.ones(len(truth.ra)),
        "ref_epoch": np.full(len(truth.ra), 2016.0),
    })  # fmt: skip
    shift = 0.4 / 3600
    ps1 = pa.table({
        "objid": 5000 + np.arange(len(truth.ra)), "ra": truth.ra, "dec": truth.dec + shift,
        "sgscore": np.linspace(0, 1, len(truth.ra)).astype(np.float32),
    })  # fmt: skip
    write_catalog("gaia", gaia, f"{settings.catalogs_uri}/gaia", created=NOW)
    write_catalog("ps1", ps1, f"{settings.catalogs_uri}/ps1", created=NOW)
    alert = {
        "objectid": "ZTF25aaaaaaa", "year": 2025, "ordinal": 0, "ra": float(truth.ra[0]),
        "dec": float(truth.dec[0]), "jd": 2460961.5, "candid": 1,
    }  # fmt: skip
    lakehouse.table("alert_objects").merge([alert])
    assert update_objects(lakehouse, settings).pixels == 4  # catalogues that were not there before
    for row in lakehouse.table("objects").read().to_pylist():
        star = truth.star_of()[row["objectid"]]
        assert row["gaia_id"] == 1000 + star
        assert row["ps1_id"] == 5000 + star
        assert row["gaia_distance"] < 0.3
        assert row["ps1_distance"] == pytest.approx(0.4, abs=0.25)
        assert row["gaia_mag"] == pytest.approx(truth.mag[star], abs=1e-5)
        assert row["alert_name"] == ("ZTF25aaaaaaa" if star == 0 else None)
        # The planted variables have the lowest scores: the catalogue calls them extended.
        assert not row["is_candidate"] or row["sgscore"] >= 0.5
        assert not row["is_candidate"] or row["objectid"] in varied
        assert row["period"] is None or row["is_candidate"]
    assert update_objects(lakehouse, settings).pixels == 0


def test_the_nearest_star_that_is_no_member_is_told(make):
    truth = Truth(FEW)
    truth.ra[1], truth.dec[1] = truth.ra[0], truth.dec[0] + 4.0 / 3600
    truth.east[1], truth.north[1] = truth.east[0], truth.north[0]
    truth.units = {(f.number, fid): truth._unit(f, fid) for f in truth.plan.fields for fid in truth.plan.fids}
    lakehouse, _ = make(truth, NIGHTS[:1])
    for row in lakehouse.table("objects").read().to_pylist():
        if truth.star_of()[row["objectid"]] in {0, 1}:
            assert row["neighbour_distance"] == pytest.approx(4.0, abs=0.4)
        else:
            assert row["neighbour_distance"] is None


def test_an_empty_lake_has_nothing_to_do(lake):
    lakehouse, settings = lake()
    summary = update_objects(lakehouse, settings)
    assert (summary.units, summary.pixels, summary.failed) == (0, 0, ())
    assert "up to date" in summary.reason
