"""Catalogues written straight from Arrow, read back by pixel, cone and box; their margins."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import ConfigurationError, NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import layout
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.lakehouse.hats import _rows_of
from zsds_tasks.lakehouse.hats_reader import HatsReader, read_partitions
from zsds_tasks.lakehouse.margins import MarginFinder
from zsds_tasks.products.tables import INDEX_COLUMN
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_stars(count, *, seed=0, centre=(0.0, 45.0), radius=1.0):
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "source_id": np.arange(count),
            "ra": (centre[0] + random.uniform(-radius, radius, count)) % 360.0,
            "dec": centre[1] + random.uniform(-radius, radius, count),
            "g": random.normal(18.0, 2.0, count).astype("f4"),
        }
    )


def ids(table):
    return sorted(table.column("source_id").to_pylist())


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    """A folder on each backend and the settings that reach it."""
    if request.param == "local":
        return str(tmp_path / "gaia"), None
    settings = request.getfixturevalue("s3_settings")
    return f"{request.getfixturevalue('s3_bucket')}/gaia-{tmp_path.name}", settings


def test_a_catalog_reads_back(place):
    uri, settings = place
    stars = make_stars(2000)
    write_catalog("gaia", stars, uri, order=2, max_rows=300, created=NOW, settings=settings)
    reader = HatsReader(uri, settings)
    assert reader.rows == 2000
    assert len(reader.pixels) > 4
    assert reader.read(list(stars.schema.names)).sort_by("source_id").equals(stars)
    index = reader.read([INDEX_COLUMN]).column(0).to_numpy()
    assert (np.diff(index) >= 0).all()
    assert reader.properties["hats_creation_date"] == "2026-01-01T00:00UTC"


def test_writing_again_replaces(place):
    uri, settings = place
    write_catalog("gaia", make_stars(500), uri, order=2, max_rows=50, settings=settings)
    write_catalog("gaia", make_stars(20, seed=1), uri, order=2, max_rows=50, settings=settings)
    assert read_partitions(uri, ["source_id"], settings=settings).num_rows == 20


def test_cones_boxes_and_pixels(tmp_path):
    stars = make_stars(5000)
    uri = write_catalog("gaia", stars, str(tmp_path), order=2, max_rows=700)
    ra, dec = stars.column("ra").to_numpy(), stars.column("dec").to_numpy()
    for cone in [(0.0, 45.0, 600.0), (359.5, 45.5, 60.0), (100.0, -20.0, 600.0)]:
        inside = healpix.within_cone(ra, dec, cone[:2], cone[2] / 3600.0)
        assert ids(read_partitions(uri, ["source_id"], cone=cone)) == np.flatnonzero(inside).tolist()
    for box in [((359.7, 0.2), (44.5, 44.9)), ((0.0, 360.0), (45.0, 45.1)), ((-1.0, 1.0), (40.0, 50.0))]:
        inside = healpix.within_box(ra, dec, *box)
        assert ids(read_partitions(uri, ["source_id"], box=box)) == np.flatnonzero(inside).tolist()
    pixel = HatsReader(uri).pixels[0].children[1]
    inside = healpix.in_ranges(healpix.index_of(ra, dec), np.array([[pixel.first, pixel.end]]))
    assert ids(read_partitions(uri, ["source_id"], pixels=[pixel])) == np.flatnonzero(inside).tolist()
    assert read_partitions(uri, pixels=[]).num_rows == 0


def test_refusals(tmp_path):
    with pytest.raises(NothingToDoError, match="gaia: has no rows"):
        write_catalog("gaia", make_stars(0), str(tmp_path))
    with pytest.raises(UnusableInputError, match=r"gaia: columns lon, dec: .*lon"):
        write_catalog("gaia", make_stars(1), str(tmp_path), ra="lon")
    with pytest.raises(ConfigurationError, match="holds no HATS catalogue"):
        read_partitions(str(tmp_path / "nothing"))
    uri = write_catalog("gaia", make_stars(10), str(tmp_path / "a"))
    with pytest.raises(UnusableInputError, match="unknown column parallax"):
        read_partitions(uri, ["parallax"])
    with pytest.raises(UnusableInputError, match="more than one region"):
        read_partitions(uri, cone=(0.0, 0.0, 1.0), pixels=[])


def test_the_margin_holds_every_row_close_to_a_border(tmp_path):
    stars = make_stars(6_000, radius=0.6)
    uri = write_catalog("gaia", stars, str(tmp_path), order=6, max_rows=3_000, margin_arcsec=30.0)
    primary, margin = HatsReader(uri), HatsReader(f"{uri}/gaia_30arcs")
    assert margin.properties["dataproduct_type"] == "margin"
    assert len(primary.pixels) > 3
    rows = primary.read()
    vectors = healpix.unit_vectors(rows.column("ra"), rows.column("dec"))
    index = rows.column(INDEX_COLUMN).to_numpy()
    for pixel in primary.pixels:
        own = (index >= pixel.first) & (index < pixel.end)
        found = set()
        if pixel in margin.pixels:
            leaf = f"{uri}/gaia_30arcs/dataset/{layout.hats_folder(pixel)}.parquet"
            found = set(pa.parquet.read_table(leaf, partitioning=None)["source_id"].to_pylist())
        border = healpix.unit_vectors(*healpix.outline(pixel, 400))
        near = np.zeros(len(own), dtype=bool)
        for start in range(0, len(own), 2000):
            chord = vectors[start : start + 2000, None, :] - border[None, :, :]
            near[start : start + 2000] = (np.sum(chord**2, axis=2) < np.radians(30.0 / 3600.0) ** 2).any(
                axis=1
            )
        needed = set(rows.filter(pa.array(near & ~own))["source_id"].to_pylist())
        assert needed <= found
        assert not found & set(rows.filter(pa.array(own))["source_id"].to_pylist())


@settings(max_examples=30, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.0, 0.0), (45.0, 41.8), (10.0, 89.9), (315.0, -41.8)]))
def test_close_pairs_across_borders_meet_in_a_margin(seed, centre):
    # Corners where three pixels meet and poles are where margins go wrong.
    random = np.random.default_rng(seed)
    dec = np.clip(centre[1] + random.uniform(-0.01, 0.01, 200), -90.0, 90.0)
    ra = (centre[0] + random.uniform(-0.01, 0.01, 200) / np.cos(np.radians(dec))) % 360.0
    index = healpix.index_of(ra, dec)
    order = np.argsort(index)
    ra, dec, index = ra[order], dec[order], index[order]
    pixels = layout.tile(index, 0, 60)
    finder = MarginFinder.of(pixels, 10.0)
    owner = np.searchsorted([pixel.first for pixel in pixels], index, side="right") - 1
    margins = {pixel: set() for pixel in pixels}
    for number, pixel in enumerate(pixels):
        mine = np.flatnonzero(owner == number)
        for other, rows in finder.rows_near_others(pixel, index[mine]).items():
            margins[other] |= set(mine[rows].tolist())
    for row in range(len(ra)):
        close = healpix.within_cone(ra, dec, (ra[row], dec[row]), 10.0 / 3600.0) & (owner != owner[row])
        assert set(np.flatnonzero(close).tolist()) <= margins[pixels[owner[row]]]


@settings(max_examples=30, derandomize=True)
@given(st.lists(st.integers(0, 99), unique=True, min_size=1), st.lists(st.integers(0, 99), unique=True))
def test_rows_are_read_by_number_whatever_groups_hold_them(some, others):
    rows = pa.table({"n": np.arange(100), "cell": pa.array([list(range(k % 4)) for k in range(100)])})
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=7)
    wanted = {Pixel(3, k): np.sort(np.array(one, np.int64)) for k, one in enumerate((some, others)) if one}
    with pq.ParquetFile(sink) as file:
        read = _rows_of(file, wanted)
        assert _rows_of(file, {}) == {}
    assert {pixel: part.to_pylist() for pixel, part in read.items()} == {
        pixel: rows.take(pa.array(numbers)).to_pylist() for pixel, numbers in wanted.items()
    }


def test_a_margin_wider_than_the_pixels_is_refused():
    with pytest.raises(ConfigurationError, match="a margin of 3600 arcsec is too wide for pixels of order 8"):
        MarginFinder.of([Pixel(8, 0)], 3600.0)


@settings(max_examples=60, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_assigned_pixels_never_overlap_and_hold_their_rows(seed, coarsest):
    random = np.random.default_rng(seed)
    index = random.integers(0, healpix.SKY_RANGE, 40)
    existing = layout.tile(np.sort(random.integers(0, healpix.SKY_RANGE, 30)), 1, 3)
    assigned = layout.assign(index, existing, coarsest)
    rows = np.sort(np.concatenate([numbers for _, numbers in assigned]))
    assert rows.tolist() == list(range(40))
    for pixel, numbers in assigned:
        assert (index[numbers] >= pixel.first).all()
        assert (index[numbers] < pixel.end).all()
    pixels = sorted({*existing, *(pixel for pixel, _ in assigned)}, key=lambda pixel: pixel.first)
    assert all(left.end <= right.first for left, right in pairwise(pixels))


def test_absorbing_small_files():
    assert layout.absorbed([], 10, 1000).tolist() == []
    assert layout.absorbed([10, 20, 100], 10, 1000).tolist() == [0, 1]
    assert layout.absorbed([11], 10, 1000).tolist() == []
    assert layout.absorbed([10, 10], 10, 25).tolist() == [0]
