"""Few rows out of many: the same as reading everything and measuring distances."""

import datetime as dt

import numpy as np
import pytest

from zsds_tasks.lakehouse.near import largest, read_near, read_region
from zsds_tasks.sky.tangent import separation_deg

ARCSEC = 1 / 3600


@pytest.fixture
def crowded(local_table):
    """A table with 900 rows in clumps of arcseconds, in many files, across a pole and across 0 h."""
    random = np.random.default_rng(8)
    middles = [
        (0.0, 0.0),
        (359.9999, 12.0),
        (120.0, 89.9995),
        (200.0, -45.0),
        (200.01, -45.0),
        (10.0, -89.9999),
    ]
    rows = []
    for k in range(900):
        ra, dec = middles[k % len(middles)]
        angle, far = random.uniform(0, 2 * np.pi), 12 * np.sqrt(random.random()) * ARCSEC
        dec_here = np.clip(dec + far * np.sin(angle), -90, 90)
        ra_here = (ra + far * np.cos(angle) / max(np.cos(np.radians(dec_here)), 1e-6)) % 360
        rows.append(row_of(k, ra_here, dec_here))
    for part in np.array_split(np.arange(len(rows)), 6):
        local_table.merge([rows[k] for k in part])
    return local_table, middles


def row_of(number, ra, dec):
    return {
        "detid": number, "expid": number // 100, "ra": float(ra), "dec": float(dec), "mag": 18.0,
        "history": None, "seen": dt.datetime(2025, 10, 12, tzinfo=dt.UTC), "band": "gri"[number % 3],
    }  # fmt: skip


@pytest.mark.parametrize("radius", [0.3, 1.5, 6.0, 40.0])
def test_rows_near_places_are_all_of_them(crowded, radius):
    table, middles = crowded
    ra, dec = np.array(middles[::2]).T
    everything = table.read()
    there = np.zeros(everything.num_rows, bool)
    for a, d in zip(ra, dec, strict=True):
        there |= (
            separation_deg(everything["ra"].to_numpy(), everything["dec"].to_numpy(), a, d) <= radius * ARCSEC
        )
    found = read_near(table, ra, dec, radius, ["detid", "ra"])
    assert found["detid"].to_pylist() == everything["detid"].to_numpy()[there].tolist()
    assert 0 < found.num_rows < everything.num_rows


def test_conditions_hold_as_well(crowded):
    table, middles = crowded
    ra, dec = np.array(middles).T
    found = read_near(table, ra, dec, 6.0, ["detid"], {"expid": (3, 5), "band": ["g", "r"]})
    wide = read_near(table, ra, dec, 6.0, ["detid", "expid", "band"]).to_pylist()
    wanted = [r["detid"] for r in wide if 3 <= r["expid"] < 5 and r["band"] in "gr"]
    assert found["detid"].to_pylist() == wanted
    assert wanted


def test_a_region_is_a_cone_with_conditions(crowded):
    table, _ = crowded
    found = read_region(table, (200.0, -45.0), 0.02, ["detid"], {"expid": 2})
    cone = table.cone(200.0, -45.0, 72.0, ["detid", "expid"]).to_pylist()
    assert found["detid"].to_pylist() == [row["detid"] for row in cone if row["expid"] == 2]
    assert found.num_rows > 20


def test_of_nothing_comes_nothing(table):
    assert read_near(table, [1.0], [2.0], 1.5, ["detid"]).num_rows == 0
    assert largest(table, "detid", {"expid": 1}) is None
    table.merge([row_of(1, 5.0, 5.0)])
    assert read_near(table, [], [], 1.5, ["detid"]).num_rows == 0
    assert read_near(table, [185.0], [-5.0], 1.5, ["detid"]).num_rows == 0


def test_the_largest_is_found_among_those_that_meet_the_conditions(crowded, monkeypatch):
    table, _ = crowded
    rows = table.read().to_pandas()
    for expid in (0, 4, 8):
        assert largest(table, "detid", {"expid": expid}) == rows[rows.expid == expid].detid.max()
    assert largest(table, "detid", {"expid": 77}) is None
    opened = []
    snapshot = type(table.snapshot())
    load = snapshot.load

    def counted(self, files, *args, **kwargs):
        opened.append(len(files))
        return load(self, files, *args, **kwargs)

    monkeypatch.setattr(snapshot, "load", counted)
    assert largest(table, "detid", {"expid": 8}) == rows.detid.max()
    assert sum(opened) < len(table.snapshot().files)
