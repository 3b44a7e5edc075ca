"""Light curves of some nights: a function of the set of images, whatever the order they come in."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from science_rows import image_rows, invented_truth, source_table

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.products.tables import load_table
from zsds_tasks.settings import Settings
from zsds_tasks.steps.lightcurves import run, update_lightcurves
from zsds_tasks.steps.lightcurves.configuration import load_lightcurves_config
from zsds_tasks.steps.lightcurves.rows import TABLES
from zsds_tasks.steps.lightcurves.work import unit_work
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.identifiers import ObjectId, ReferenceId
from zsds_tasks.survey.nights import ObservingNight

NIGHTS = ("20251012", "20251013", "20251014")
RCIDS = (2, 5)
NOW = dt.datetime(2025, 10, 15, tzinfo=dt.UTC)
SHIFT = {0: 0.05, 1: -0.03, 2: 0.0}  # mag, by number of the visit in its night: what refinement must find


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Rows of science_images and sources, by night."""
    settings = Settings(var=tmp_path_factory.mktemp("truth"), camera="mini", workers=1)
    camera, found = load_camera("mini", settings.include), {}
    for night in NIGHTS:
        shots, truths = invented_truth(settings, ObservingNight.parse(night), visits=3, count=400)
        rows, sources = [], []
        for shot, rcid in itertools.product((s for s in shots if s.fid == 2), RCIDS):
            rng = np.random.default_rng([shot.expid, rcid])
            image, _ = image_rows(camera, shot, camera.quadrants[rcid], rng)
            table = source_table(truths[shot.expid], shot, camera.quadrants[rcid], image, rng)
            shift = SHIFT[len(rows) // len(RCIDS)]
            at = table.schema.get_field_index("mag")
            mag = np.asarray(table["mag"].to_numpy(), np.float32) + np.float32(shift)
            sources.append(table.set_column(at, table.schema.field(at), [mag]))
            rows.append(image)
        found[night] = rows, sources
    return found


@pytest.fixture
def deliver(tmp_path_factory, images):
    """Return a maker of lakes that hold some nights, or of more nights for one."""

    def delivered(nights, lake=None):
        settings = (
            lake[1] if lake else Settings(var=tmp_path_factory.mktemp("lake"), camera="mini", workers=1)
        )
        lakehouse = open_lakehouse(settings)
        for night in nights:
            rows, sources = images[night]
            lakehouse.table("science_images").merge(rows)
            for table in sources:
                lakehouse.table("sources").merge(table)
        return lakehouse, settings

    return delivered


@pytest.fixture
def make(deliver):
    """Return a maker of lakes to which nights come in portions, light curves made after each."""

    def made(*portions):
        lake = None
        for nights in portions:
            lake = deliver(nights, lake)
            update_lightcurves(*lake)
        return lake

    return made


def content(lakehouse):
    return {name: str(lakehouse.table(name).read().to_pylist()) for name in TABLES}


def test_increments_in_any_order_are_what_a_rebuild_gives(make):
    whole = content(make(NIGHTS)[0])
    assert content(make(*((night,) for night in NIGHTS))[0]) == whole
    assert content(make(*((night,) for night in reversed(NIGHTS)))[0]) == whole


def test_every_star_has_one_light_curve_with_all_its_epochs(make, images):
    lakehouse, _ = make(NIGHTS)
    curves = lakehouse.table("lightcurves").read().to_pylist()
    epochs = lakehouse.table("epochs").read().to_pylist()
    sources = sum(table.num_rows for _, tables in images.values() for table in tables)
    assert len({row["objectid"] for row in curves}) == len(curves)
    assert sum(row["nepochs"] for row in curves) == len(epochs)
    assert len({(row["pid"], row["sourceid"]) for row in epochs}) == len(epochs) > 0.95 * sources
    assert all(len(row["lightcurve"]["mag"]) == row["nepochs"] for row in curves)
    assert all(np.all(np.diff(row["lightcurve"]["hmjd"]) > 0) for row in curves)
    assert sum(row["nepochs"] == 9 for row in curves) > 100


def test_zero_points_are_refined_and_errors_are_those_of_the_scatter(make):
    lakehouse, _ = make(NIGHTS)
    offsets = lakehouse.table("photometric_offsets").read(["pid", "offset_mag", "flags"]).to_pylist()
    images = lakehouse.table("science_images").read(["pid", "night", "obsjd", "rcid"]).to_pylist()
    found = {row["pid"]: row["offset_mag"] for row in offsets}
    for rcid, night in itertools.product(RCIDS, NIGHTS):
        mine = sorted(
            (r for r in images if (r["rcid"], r["night"]) == (rcid, night)), key=lambda r: r["obsjd"]
        )
        values = [found[row["pid"]] for row in mine]
        # The images' own zero points err by 3 mmag; offsets take the shifts off, all but a common constant.
        assert values[0] - values[2] == pytest.approx(SHIFT[2] - SHIFT[0], abs=0.012)
        assert values[1] - values[2] == pytest.approx(SHIFT[2] - SHIFT[1], abs=0.012)
    pulls = []
    for row in lakehouse.table("lightcurves").read().to_pylist():
        mag, error = (np.array(row["lightcurve"][name]) for name in ("mag", "magerr"))
        if row["nepochs"] == 9 and not any(row["lightcurve"]["catflags"]):
            pulls += list((mag - mag.mean()) / error * np.sqrt(9 / 8))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)


def test_what_is_up_to_date_is_left_alone(make):
    lakehouse, settings = make(NIGHTS[:1])
    versions = {name: lakehouse.table(name).version() for name in TABLES}
    again = update_lightcurves(lakehouse, settings)
    assert again.units == 0
    assert "up to date" in again.reason
    assert {name: lakehouse.table(name).version() for name in TABLES} == versions


@pytest.mark.parametrize("table", TABLES)
def test_killed_before_a_commit_and_run_again_it_is_as_if_undisturbed(deliver, monkeypatch, table):
    undisturbed, disturbed = deliver(NIGHTS[:1]), deliver(NIGHTS[:1])
    update_lightcurves(*undisturbed)
    real = run.replace_units

    def killed(lake, name, batch):
        if name == table:
            raise KeyboardInterrupt
        real(lake, name, batch)

    monkeypatch.setattr(run, "replace_units", killed)
    with pytest.raises(KeyboardInterrupt):
        update_lightcurves(*disturbed)
    monkeypatch.undo()
    update_lightcurves(*disturbed)
    assert content(disturbed[0]) == content(undisturbed[0])


def test_a_unit_whose_image_is_gone_bad_is_due_again(make):
    lakehouse, settings = make(NIGHTS[:1])
    config = load_lightcurves_config(settings.include)
    assert unit_work(lakehouse, config) == []
    row = lakehouse.table("science_images").read().to_pylist()[0]
    lakehouse.table("science_images").merge([row | {"status": 0}])
    (due,) = unit_work(lakehouse, config)
    assert due.key == (row["field"], row["fid"], row["rcid"])
    assert row["pid"] not in {image["pid"] for image in due.images}
    update_lightcurves(lakehouse, settings)
    assert not lakehouse.table("epochs").count({"pid": row["pid"]})


def test_a_unit_all_of_whose_images_are_withdrawn_goes(make):
    lakehouse, settings = make(NIGHTS[:1])
    rows = lakehouse.table("science_images").read().to_pylist()
    lakehouse.table("science_images").merge([row | {"status": 0} for row in rows if row["rcid"] == RCIDS[0]])
    update_lightcurves(lakehouse, settings)
    for name in TABLES:
        assert set(lakehouse.table(name).read(["rcid"])["rcid"].to_pylist()) == {RCIDS[1]}, name
    assert update_lightcurves(lakehouse, settings).units == 0


def test_a_field_that_the_grid_lacks_is_told_and_stops_no_other(deliver, images):
    lakehouse, settings = deliver(NIGHTS[:1])
    rows, _ = images[NIGHTS[0]]
    lakehouse.table("science_images").merge([row | {"field": 77} for row in rows if row["rcid"] == RCIDS[0]])
    summary = update_lightcurves(lakehouse, settings)
    assert summary.units == 1
    (told,) = summary.failed
    assert "grid mini has no field 77" in told
    assert "fields-mini.yaml" in told
    assert f"(77, {rows[0]['fid']}, {RCIDS[0]})" in told


def filled(name: str, **known):
    """Return a row of a table: what is known, else null, or nothing of its type."""
    nothing = {"string": "", "bool": False, "timestamp": NOW}
    row = {}
    for column in load_table(name).columns:
        blank = [] if column.is_list else nothing.get(column.type, 0)
        row[column.name] = None if column.nullable else blank
    return row | known


def test_stars_of_the_reference_keep_their_numbers_and_lend_their_motions(deliver, images):
    lakehouse, settings = deliver(NIGHTS)
    image, table = images[NIGHTS[0]][0][0], images[NIGHTS[0]][1][0]
    sources = [row for row in table.to_pylist() if row["snr"] > 8][::2]  # half of the stars
    rfid = int(ReferenceId(image["field"], image["fid"], image["rcid"]))
    shared = {name: image[name] for name in ("field", "fid", "rcid")} | {"rfid": rfid, "version": 1}
    jd = image["obsjd"]
    night = {"status": 1, "vbest": 1, "jdstart": jd, "jdend": jd, "ra": image["ra"], "dec": image["dec"]}
    lakehouse.table("references").merge([filled("references", **shared, **night)])
    names = set(load_table("reference_sources").names)
    stars = [
        filled("reference_sources", **({n: v for n, v in row.items() if n in names} | shared))
        for row in sources
    ]
    lakehouse.table("reference_sources").merge(stars)
    gaia = pa.table({
        "ra": [row["ra"] for row in sources], "dec": [row["dec"] for row in sources],
        "pmra": np.full(len(sources), 30.0), "pmdec": np.full(len(sources), -20.0),
        "phot_g_mean_mag": np.full(len(sources), 17.0), "bp_rp": np.full(len(sources), 1.0),
        "ref_epoch": np.full(len(sources), 2025.78),
    })  # fmt: skip
    write_catalog("gaia", gaia, f"{settings.catalogs_uri}/gaia", created=NOW)

    assert update_lightcurves(lakehouse, settings).failed == ()
    seeds = lakehouse.table("seeds").read(where={"rcid": image["rcid"]}).to_pylist()
    of_reference = [row for row in seeds if row["origin"] == 0]
    founded = [row for row in seeds if row["origin"] == 1]
    assert {row["objectid"] % 10**8 for row in of_reference} == {row["sourceid"] for row in sources}
    assert {(row["pmra"], row["pmdec"]) for row in of_reference} == {(30.0, -20.0)}
    assert all(ObjectId.parse(row["objectid"]).is_founded for row in founded)
    assert len(founded) > 0.5 * len(of_reference)  # the other half
    epochs = lakehouse.table("epochs").read(["objectid", "pid"], {"rcid": image["rcid"]}).to_pylist()
    counts = Counter(row["objectid"] for row in epochs)
    whole = [row for row in of_reference if counts[row["objectid"]] == 9]
    assert len(whole) > 0.9 * len(of_reference)
    assert len({(row["objectid"], row["pid"]) for row in epochs}) == len(epochs)
