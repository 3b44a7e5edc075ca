"""Questions to a release against the slow obvious answer: all rows, and astropy's distances."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.catalog import open_catalog
from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.lakehouse.publish import publish
from zsds_tasks.lakehouse.releases import withdraw
from zsds_tasks.products.tables import INDEX_COLUMN, parse_table
from zsds_tasks.settings import Settings

RELEASES = ("dr1", "dr2", "live", "publications")
SPOTS = """
table: spots
description: Positions all over the sky.
key: [spotid]
partition: {kind: healpix, ra: ra, dec: dec, order: 0, max_rows: 300}
columns:
  - {name: spotid, type: int64, ucd: meta.id;meta.main, description: Identifier.}
  - {name: ra, type: float64, unit: deg, ucd: pos.eq.ra;meta.main, description: Right ascension.}
  - {name: dec, type: float64, unit: deg, ucd: pos.eq.dec;meta.main, description: Declination.}
"""


def distances(rows, ra, dec):
    places = SkyCoord(rows["ra"].to_numpy() * u.deg, rows["dec"].to_numpy() * u.deg)
    return places.separation(SkyCoord(ra * u.deg, dec * u.deg)).arcsec


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """3000 positions in clumps, also at both poles and across 0 h: a catalogue of many pixels."""
    random = np.random.default_rng(2)
    centres = [(0.0, 0.0), (359.99, 20.0), (120.0, 89.99), (10.0, -89.99), (200.0, -45.0)]
    ra, dec = (np.concatenate(part) for part in zip(*(
        ((a + random.normal(0, 0.5, 600)) % 360, np.clip(d + random.normal(0, 0.5, 600), -90, 90))
        for a, d in centres
    ), strict=True))  # fmt: skip
    ids = random.permutation(2 * len(ra))[: len(ra)]
    lakehouse = open_lakehouse(Settings(var=tmp_path_factory.mktemp("spots"), workers=1))
    table = lakehouse.table(parse_table(SPOTS))
    table.merge(pa.table({"spotid": ids, "ra": ra, "dec": dec}))
    publish(table)
    from zsds_tasks.catalog.catalog import Catalog
    from zsds_tasks.catalog.opening import Found
    from zsds_tasks.catalog.sources import Live, Published

    own = Settings(var=tmp_path_factory.mktemp("none"))
    uri = lakehouse.storage.uri("hats/spots/v1")
    makers = {"spots": lambda: Published("spots", uri, own), "live_spots": lambda: Live(table)}
    return Catalog(Found("test", None, makers), own)


@settings(max_examples=40)
@given(
    table=st.sampled_from(["spots", "live_spots"]),
    ra=st.one_of(st.floats(0, 360, exclude_max=True), st.sampled_from([0.0, 120.0, 200.0, 359.999])),
    dec=st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, -45.0, 0.0, 20.0, 89.99, 90.0])),
    radius=st.sampled_from([0.5, 5.0, 600.0, 7200.0, 200_000.0]),
)
def test_a_cone_holds_what_lies_in_it_nearest_first(spots, table, ra, dec, radius):
    every = spots.arrow(table)
    apart = distances(every, ra, dec)
    wanted = every.filter(pa.array(apart <= radius))
    found = spots.cone(table, ra, dec, radius)
    assert found.schema.names == ["spotid", "ra", "dec"]
    assert sorted(found["spotid"].to_pylist()) == sorted(wanted["spotid"].to_pylist())
    assert (np.diff(distances(found, ra, dec)) > -1e-6).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), radius=st.sampled_from([2.0, 60.0, 1800.0]), count=st.integers(0, 40))
def test_many_cones_are_as_many_cones_one_by_one(spots, seed, radius, count):
    random = np.random.default_rng(seed)
    every = spots.arrow("spots")
    near = random.integers(0, every.num_rows, count)
    positions = np.stack([every["ra"].to_numpy()[near], every["dec"].to_numpy()[near]], axis=1)
    if count:
        positions[: count // 2, 1] = random.uniform(-90, 90, count // 2)
        positions[0] = (0.0, 90.0)
    found = spots.cones("spots", positions, radius, ["spotid"])
    pairs = []
    for row, (ra, dec) in enumerate(positions):
        apart = distances(every, ra, dec)
        pairs += [(row, int(every["spotid"][int(k)].as_py())) for k in np.flatnonzero(apart <= radius)]
    assert found.schema.names == ["position", "distance", "spotid"]
    assert sorted(zip(found["position"].to_pylist(), found["spotid"].to_pylist(), strict=True)) == sorted(
        pairs
    )
    assert found.equals(found.sort_by([("position", "ascending"), ("distance", "ascending")]))
    assert found.num_rows == 0 or found["distance"].to_numpy().max() <= radius * (1 + 1e-9)


@settings(max_examples=30)
@given(table=st.sampled_from(["spots", "live_spots"]), asked=st.lists(st.integers(0, 6000), max_size=30))
def test_identifiers_come_in_the_order_asked_for(spots, table, asked):
    known = set(spots.arrow(table, ["spotid"])["spotid"].to_pylist())
    wanted = [one for one in dict.fromkeys(asked) if one in known]
    assert spots.ids(table, asked, ["spotid"])["spotid"].to_pylist() == wanted


def test_the_id_index_lists_every_row_once_and_in_order(spots):
    source = spots.source("spots")
    parts = HatsReader(source.uri).id_index("spotid")
    index = pa.concat_tables(pa.parquet.read_table(path, partitioning=None) for path in parts)
    every = source.dataset().to_table().sort_by("spotid")
    assert index["spotid"].equals(every["spotid"])
    assert index[INDEX_COLUMN].equals(every[INDEX_COLUMN])
    shift = 2 * (29 - index["Norder"].to_numpy().astype(int))
    assert ((index[INDEX_COLUMN].to_numpy() >> shift) == index["Npix"].to_numpy().astype(int)).all()


@pytest.mark.parametrize("release", RELEASES)
def test_a_light_curve_is_the_row_of_the_table(lake, release):
    catalog = lake.open(release)
    for row in catalog.arrow("lightcurves").slice(3, 4).to_pylist():
        curve = catalog.light_curve(row["objectid"])
        assert (curve.fieldid, curve.filterid, curve.ra) == (row["fieldid"], row["filterid"], row["objra"])
        assert curve.filter == {1: "g", 2: "r"}[row["filterid"]]
        assert curve.to_arrow().to_pydict() == row["lightcurve"]
        assert len(curve) == row["nepochs"] == (45 if release == "dr1" else 90)


def test_a_star_has_its_light_curves_of_all_filters_and_fields(lake):
    catalog = lake.open()
    for star in lake.of_kind("rrlyrae"):
        row = catalog.cone("objects", star.ra, star.dec, 1.0).to_pylist()[0]
        for name in row["members"]["objectid"]:
            curves = catalog.light_curves(name)
            assert [curve.objectid for curve in curves] == sorted(
                row["members"]["objectid"], key=lambda one: (one // 10**11 % 10, one)
            )
            assert catalog.object_of(name)["objectid"] == row["objectid"]


def test_without_objects_a_star_is_what_lies_together(lake):
    whole = lake.open()
    curves_only = lake.open()
    curves_only._found = type(whole._found)("dr2", 2, {"lightcurves": whole._found.makers["lightcurves"]})
    name = whole.arrow("lightcurves", ["objectid"])["objectid"][0].as_py()
    told = [[curve.objectid for curve in one.light_curves(name)] for one in (whole, curves_only)]
    assert told[0] == told[1]


def test_sql_and_lazy_frames_see_the_same_rows(lake):
    import polars as pl

    for release in ("dr2", "live"):
        catalog = lake.open(release)
        wanted = catalog.arrow("objects", ["objectid"], pc.field("period") < 1.0)["objectid"].to_pylist()
        sql = "select objectid from objects where period < 1.0"
        assert len(wanted) == len(lake.of_kind("rrlyrae"))
        assert sorted(row[0] for row in catalog.duckdb().sql(sql).fetchall()) == sorted(wanted)
        frame = catalog.polars("objects").filter(pl.col("period") < 1.0).select("objectid").collect()
        assert sorted(frame["objectid"]) == sorted(wanted)
        rows = sum(part.read().num_rows for part in catalog.partitions("lightcurves", ["objectid"]))
        assert rows == catalog.source("lightcurves").rows


def test_a_live_catalogue_stays_at_the_version_it_was_opened_at(tmp_path, lake):
    from lake_builder import fill, make_stars

    own = Settings(var=tmp_path, workers=1)
    stars = make_stars(constants=3, rrlyrae=1, eclipsing=0)
    fill(own, stars, 45)
    opened = open_catalog("live", own)
    opened.source("lightcurves")
    fill(own, stars, 90)
    assert set(opened.arrow("lightcurves", ["nepochs"])["nepochs"].to_pylist()) == {45}
    assert set(open_catalog("live", own).arrow("lightcurves", ["nepochs"])["nepochs"].to_pylist()) == {90}
    with pytest.raises(NothingToDoError, match="nothing was ever published"):
        open_catalog(None, own)


@pytest.mark.parametrize(
    ("ask", "fact"),
    [
        (lambda c: c.cone("objects", np.nan, 0.0, 5.0), "is no cone"),
        (lambda c: c.cone("objects", 0.0, 91.0, 5.0), "is no cone"),
        (lambda c: c.cone("objects", 0.0, 0.0, 0.0), "is no cone"),
        (lambda c: c.cone("objects", 0.0, 0.0, 5.0, ["colour"]), "unknown column colour"),
        (lambda c: c.arrow("objects", "hue"), "unknown column hue"),
        (lambda c: c.cone("stars", 0.0, 0.0, 5.0), "has no table 'stars'"),
        (lambda c: c.cones("objects", [1.0, 2.0], 5.0), "positions have shape"),
        (lambda c: c.cones("objects", [(1.0, 2.0), (0.0, -95.0)], 5.0), "position 1.* is no cone"),
        (lambda c: c.cones("objects", [(1.0, 2.0)], 1e5), "too wide"),
        (lambda c: c.ids("objects", ["1; drop table"]), "are no identifiers"),
        (lambda c: c.ids("objects", [1.5]), "are no identifiers"),
        (lambda c: c.ids("objects", [1], by="ra"), "column ra holds no integers"),
        (lambda c: c.light_curve(12), "has no light curve"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(lake, ask, fact):
    with pytest.raises(UnusableInputError, match=fact):
        ask(lake.open())


@pytest.mark.parametrize("name", ["dr9", "0", "\u00b2", "../dr1", "dr1; drop", ""])
def test_a_release_that_is_not_there_is_refused(lake, name):
    with pytest.raises(UnusableInputError, match=r"no such release|is no name of a release"):
        lake.open(name)


def test_a_withdrawn_release_warns_and_is_not_the_newest(tmp_path):
    from lake_builder import WHEN, fill, make_stars

    from zsds_tasks.lakehouse.release_making import make_release

    own = Settings(var=tmp_path, workers=1)
    fill(own, make_stars(constants=3, rrlyrae=1, eclipsing=0), 45)
    lakehouse = open_lakehouse(own)
    make_release(lakehouse, own, now=WHEN)
    withdraw(lakehouse.storage, 1, "a wrong zero point", WHEN)
    with pytest.warns(UserWarning, match="dr1 was withdrawn: a wrong zero point"):
        assert open_catalog("dr1", own).release == "dr1"
    assert open_catalog(None, own).release == "publications"


def test_importing_the_room_brings_no_heavy_engine():
    code = (
        "import sys; import zsds_tasks.catalog;"
        "print([m for m in ('lsdb','duckdb','polars','matplotlib','numba','dask','ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
