"""Differences between states of a table: laws, against rows compared one by one, and what is skipped."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, layout
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.difference_rows import (
    compare_rows,
    find_regions,
    iterate_differences,
    unshared,
)
from zsds_tasks.lakehouse.difference_states import StateFile, TableState, state_at_version
from zsds_tasks.lakehouse.differences import compare_states, compare_tables
from zsds_tasks.products.tables import INDEX_COLUMN, conform, parse_table

SKY = """
table: stars
description: A few stars.
key: [objectid]
partition: {kind: healpix, ra: ra, dec: dec, order: 1, max_rows: 4}
columns:
  - {name: objectid, type: int64, description: Star.}
  - {name: ra, type: float64, unit: deg, description: Right ascension.}
  - {name: dec, type: float64, unit: deg, description: Declination.}
  - {name: mag, type: float32, unit: mag, description: Magnitude., nullable: true}
  - {name: processing_version, type: string, description: Version.}
  - name: lightcurve
    type: nested
    description: Epochs.
    columns:
      - {name: hmjd, type: float64, unit: d, description: Time.}
      - {name: mag, type: float32, unit: mag, description: Magnitude.}
"""
FLAT = """
table: runs
description: One row per stage and exposure.
key: [stage, expid]
columns:
  - {name: stage, type: string, description: Stage.}
  - {name: expid, type: int32, description: Exposure.}
  - {name: seconds, type: float64, unit: s, description: Duration., nullable: true}
"""


declared = functools.cache(parse_table)


def star(number, *, place=0, mag=15.0, version="a", curve=()):
    # Places are corners of different pixels, so that a star of another place has moved to another file.
    nested = {"hmjd": [60000.0 + k for k in range(len(curve))], "mag": list(curve)}
    return {
        "objectid": number,
        "ra": (place * 97.0 + number / 50) % 360.0,
        "dec": -40.0 + 20.0 * (place % 5),
        "mag": mag,
        "processing_version": version,
        "lightcurve": nested,
    }


magnitudes = st.one_of(st.none(), st.sampled_from([15.0, 15.5, float("nan")]))
stars = st.lists(
    st.builds(
        star,
        st.integers(0, 12),
        place=st.integers(0, 4),
        mag=magnitudes,
        version=st.sampled_from("ab"),
        curve=st.lists(st.sampled_from([14.0, 16.0]), max_size=2),
    ),
    max_size=12,
    unique_by=lambda row: row["objectid"],
)
runs = st.lists(
    st.fixed_dictionaries(
        {
            "stage": st.sampled_from(["raw", "cal", "sci"]),
            "expid": st.integers(0, 4),
            "seconds": st.one_of(st.none(), st.sampled_from([1.0, 2.0])),
        }
    ),
    max_size=12,
    unique_by=lambda row: (row["stage"], row["expid"]),
)


class Quiet(Lakehouse):
    """A lakehouse with one declared table."""

    def __init__(self, folder, text):
        super().__init__(open_storage(str(folder)), Path("include"))
        self.only = declared(text)

    def table(self, declared):
        return super().table(self.only if declared == self.only.table else declared)


def two_versions(folder, text, before, after):
    """Return a lakehouse and the versions of its table that hold the rows."""
    lakehouse = Quiet(folder, text)
    table = lakehouse.table(lakehouse.only.table)
    table.merge(before)
    old = table.version()
    kept = {key_of(text, row) for row in after}
    table.delete(
        {lakehouse.only.key[0]: [key_of(text, row)[0] for row in before if key_of(text, row) not in kept]}
    )
    table.merge(after)
    return lakehouse, str(old), str(table.version())


def key_of(text, row):
    return tuple(row[name] for name in declared(text).key)


def by_key(text, rows):
    return {key_of(text, row): row for row in rows}


def plain(value):
    """Return a value that equals itself, also where it is no number."""
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


def applied(text, rows, differences):
    """Apply differences to rows."""
    held = by_key(text, rows)
    for part in differences:
        for row in part.removed.to_pylist():
            del held[key_of(text, row)]
        for old, new in zip(part.before.to_pylist(), part.after.to_pylist(), strict=True):
            assert plain(held[key_of(text, old)]) == plain(old)
            held[key_of(text, new)] = new
        for row in part.added.to_pylist():
            assert key_of(text, row) not in held
            held[key_of(text, row)] = row
    return held


def state_of_rows(folder, label, declaration, rows, rows_per_file):
    """Write rows as files of their own, pixel by pixel or in any order, and return them as a state."""
    stored = layout.sorted_rows(layout.as_stored(conform(rows, declaration), declaration), declaration.key)
    parts = [(None, stored.slice(k, rows_per_file)) for k in range(0, stored.num_rows, rows_per_file)]
    if declaration.healpix:
        index = stored.column(INDEX_COLUMN).to_numpy()
        tiles = layout.tile(index, declaration.healpix.order, rows_per_file)
        bounds = [(tile, index.searchsorted([tile.first, tile.end])) for tile in tiles]
        parts = [(tile, stored.slice(low, high - low)) for tile, (low, high) in bounds]
    files = []
    for number, (pixel, part) in enumerate(parts):
        content = part.sort_by(declaration.key[-1])
        pq.write_table(content, folder / f"{label}-{number}.parquet")
        # Files of equal content have equal identities, as those that two versions share.
        files.append(
            StateFile(f"{folder}/{label}-{number}.parquet", repr(content.to_pylist()), len(part), pixel)
        )
    schema = pa.schema([field for field in stored.schema if field.name != INDEX_COLUMN])
    return TableState(declaration.table, label, None, schema, tuple(files), pafs.LocalFileSystem())


def laws_hold(folder, text, before, after, rows_per_file, rows_at_once):
    lakehouse = Quiet(folder, text)
    declaration = lakehouse.only
    rows = [conform(side, declaration).to_pylist() for side in (before, after)]
    states = [state_of_rows(folder, f"s{n}", declaration, rows[n], rows_per_file[n]) for n in (0, 1)]
    parts = list(iterate_differences(*states, declaration.key, rows_at_once=rows_at_once))
    total = sum(file.rows for side in unshared(*states) for file in side)
    assert declaration.healpix or total <= rows_at_once or len(parts) > 1
    assert plain(applied(text, rows[0], parts)) == plain(by_key(text, rows[1]))
    there = compare_states(lakehouse, *states, rows_at_once=rows_at_once)
    back = compare_states(lakehouse, *reversed(states), rows_at_once=rows_at_once)
    assert (there.added, there.removed, there.changed) == (back.removed, back.added, back.changed)
    assert there.columns == back.columns
    assert {(c.before, c.after) for c in there.causes} == {(c.after, c.before) for c in back.causes}
    held = [by_key(text, side) for side in rows]
    both = held[0].keys() & held[1].keys()
    changed = [key for key in both if plain(held[0][key]) != plain(held[1][key])]
    assert (there.added, there.removed) == (len(held[1].keys() - both), len(held[0].keys() - both))
    assert there.changed == len(changed)
    counted = {column.name: column.changed for column in there.columns if "." not in column.name}
    for name in declaration.names:
        expected = sum(plain(held[0][key][name]) != plain(held[1][key][name]) for key in changed)
        assert counted.get(name, 0) == expected
    assert (there.rows_before, there.rows_after) == (len(rows[0]), len(rows[1]))
    return there


sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))


@settings(max_examples=20)
@given(stars, stars, sizes)
def test_a_difference_leads_from_one_state_to_the_other(tmp_path_factory, before, after, rows_per_file):
    found = laws_hold(tmp_path_factory.mktemp("lake"), SKY, before, after, rows_per_file, 10**6)
    told = np.array([[c.added, c.removed, c.changed] for c in found.causes]).reshape(-1, 3).sum(axis=0)
    assert tuple(told) == (found.added, found.removed, found.changed)


@settings(max_examples=20)
@given(runs, runs, sizes, st.integers(1, 9))
def test_tables_without_pixels_are_compared_by_ranges_of_their_key(
    tmp_path_factory, before, after, rows_per_file, at_once
):
    found = laws_hold(tmp_path_factory.mktemp("lake"), FLAT, before, after, rows_per_file, at_once)
    assert found.rows_before == len(before)


def test_a_star_that_moved_to_another_pixel_has_changed(tmp_path):
    before = [star(n, place=n % 4) for n in range(8)]
    after = [star(n, place=(n + (n == 3)) % 4) for n in range(8)]
    lakehouse, old, new = two_versions(tmp_path, SKY, before, after)
    found = compare_tables(lakehouse, "stars", old, new, examples=3)
    assert (found.added, found.removed, found.changed) == (0, 0, 1)
    assert {column.name for column in found.columns} == {"ra", "dec"}
    assert found.examples[0].key == {"objectid": 3}


def test_versions_account_for_the_rows_they_changed(tmp_path):
    before = [star(n, version="old") for n in range(10)]
    after = [star(n, version="new", mag=15.25) for n in range(4)]
    after += [star(n, version="old", mag=14.0) for n in range(4, 6)]
    after += [star(n, version="old") for n in range(6, 9)]
    after += [star(n, version="new") for n in range(20, 23)]
    lakehouse, old, new = two_versions(tmp_path, SKY, before, after)
    found = compare_tables(lakehouse, "stars", old, new)
    told = {(c.before, c.after): (c.added, c.removed, c.changed) for c in found.causes}
    assert told == {
        ("old", "new"): (0, 0, 4), ("old", "old"): (0, 0, 2), ("", "new"): (3, 0, 0), ("old", ""): (0, 1, 0),
    }  # fmt: skip
    (mag,) = (column for column in found.columns if column.name == "mag")
    assert (mag.changed, mag.largest) == (6, 1.0)


def test_nested_columns_are_compared_by_value(tmp_path):
    before = [star(1, curve=[14.0, 15.0]), star(2, curve=[14.0]), star(3)]
    after = [star(1, curve=[14.0, 15.5]), star(2, curve=[14.0, 14.5]), star(3)]
    lakehouse, old, new = two_versions(tmp_path, SKY, before, after)
    found = compare_tables(lakehouse, "stars", old, new)
    told = {column.name: (column.changed, column.largest) for column in found.columns}
    # Star 2 gained an epoch: its lists differ in length, so that only star 1 tells how far magnitudes moved.
    assert told == {
        "lightcurve": (2, None), "lightcurve.hmjd": (1, None), "lightcurve.mag": (2, 0.5),
    }  # fmt: skip


def test_a_column_gained_inside_a_nested_one_changes_no_row():
    short = pa.array([{"t": [1.0, 2.0]}, {"t": [3.0]}], pa.struct([("t", pa.list_(pa.float64()))]))
    inner = pa.struct([("t", pa.list_(pa.float64())), ("f", pa.list_(pa.float32()))])
    long = pa.array([{"t": [1.0, 2.0], "f": [5.0, 6.0]}, {"t": [3.5], "f": [7.0]}], inner)
    sides = [pa.table({"key": [1, 2], "curve": column}) for column in (short, long)]
    for before, after in (sides, sides[::-1]):
        assert compare_rows(before, after, ["key"]).after["key"].to_pylist() == [2]


def test_files_that_both_states_have_are_not_read(tmp_path):
    lakehouse = Quiet(tmp_path, SKY)
    table = lakehouse.table("stars")
    table.merge([star(n, place=n % 4) for n in range(12)])
    table.merge([star(0, mag=16.0)])
    found = compare_tables(lakehouse, "stars", "1", "2")
    assert (found.changed, found.rows_before) == (1, 12)
    assert 2 <= found.rows_compared < 24
    assert compare_tables(lakehouse, "stars", "2", "2").is_empty
    table.compact()
    assert compare_tables(lakehouse, "stars", "2", str(table.version())).is_empty


def test_regions_hold_the_coarser_pixel_where_one_side_is_split(tmp_path):
    lakehouse = Quiet(tmp_path, SKY)
    table = lakehouse.table("stars")
    table.merge([star(n) | {"ra": n * 0.5, "dec": n * 0.3} for n in range(12)])
    before = table.version()
    table.repartition()
    states = state_at_version(table, before), state_at_version(table, table.version())
    assert len(states[1].files) > len(states[0].files)
    regions = find_regions(*states, ("objectid",))
    assert len(regions) <= len(states[0].files)
    assert sum(len(region.after) for region in regions) == len(unshared(*states)[1])
    assert compare_states(lakehouse, *states).is_empty


def test_a_gained_column_is_told_and_changes_no_row(tmp_path):
    lakehouse = Quiet(tmp_path, FLAT)
    lakehouse.table("runs").merge([{"stage": "raw", "expid": 1, "seconds": 1.0}])
    lakehouse.only = parse_table(
        FLAT + "  - {name: note, type: string, description: Note., nullable: true}\n"
    )
    table = lakehouse.table("runs")
    table.merge([{"stage": "raw", "expid": 2, "seconds": 1.0, "note": "slow"}])
    found = compare_tables(lakehouse, "runs", "1", str(table.version()))
    assert (found.columns_added, found.columns_removed, found.added, found.changed) == (("note",), (), 1, 0)
    assert not found.is_empty


@pytest.mark.parametrize(
    ("which", "error", "fact"),
    [
        ("first", UnusableInputError, "is no name of a release"),
        ("../dr1", UnusableInputError, "is no name of a release"),
        ("dr0", UnusableInputError, "is no name of a release"),
        ("dr7", UnusableInputError, "there is no such release"),
        ("99", ConfigurationError, "there is no version 99"),
        ("-1", UnusableInputError, "is no name of a release"),
    ],
)
def test_states_that_do_not_exist_are_refused(tmp_path, which, error, fact):
    lakehouse = Quiet(tmp_path, FLAT)
    lakehouse.table("runs").merge([{"stage": "raw", "expid": 1, "seconds": 1.0}])
    with pytest.raises(error, match=fact):
        compare_tables(lakehouse, "runs", "0", which)


def test_vacuumed_versions_are_told_to_be_gone(tmp_path):
    lakehouse = Quiet(tmp_path, FLAT)
    table = lakehouse.table("runs")
    table.merge([{"stage": "raw", "expid": 1, "seconds": 1.0}])
    table.merge([{"stage": "raw", "expid": 1, "seconds": 2.0}])
    table.vacuum(0)
    with pytest.raises(UnusableInputError, match="version 1 is no longer whole"):
        compare_tables(lakehouse, "runs", "1", "2")


def test_a_column_of_another_type_is_compared_after_a_cast_where_one_is_possible():
    from zsds_tasks.lakehouse.difference_rows import compare_rows

    before = pa.table({"k": [1, 2], "n": pa.array([1, 2], pa.int32()), "word": ["1", "x"]})
    after = pa.table({"k": [1, 2], "n": pa.array([1, 3], pa.int64()), "word": pa.array([1, 2], pa.int32())})
    found = compare_rows(before, after, ["k"])
    assert found.differs["n"].tolist() == [False, True]
    assert found.differs["word"].tolist() == [True, True]
