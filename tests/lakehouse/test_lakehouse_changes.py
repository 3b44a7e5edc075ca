"""Merge, replace, delete, read and time travel, on every backend."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.lakehouse import Commit
from zsds_tasks.products.tables import INDEX_COLUMN, conform, empty
from zsds_tasks.sky import healpix

FIVE_PAST = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


def changed(rows, column, values):
    position = rows.schema.get_field_index(column)
    return rows.set_column(position, column, pa.array(values, rows.schema.field(column).type))


def test_a_table_never_written_reads_as_empty(table, declaration):
    assert not table.exists()
    assert table.version() is None
    assert table.count() == 0
    assert table.history() == []
    assert table.read().equals(empty(declaration))
    assert table.read(["detid", INDEX_COLUMN]).schema.names == ["detid", INDEX_COLUMN]
    assert table.cone(10.0, 20.0, 5.0).num_rows == 0
    assert table.delete({"expid": 1}) == Commit(None)
    assert table.merge([]) == Commit(None)
    assert not table.exists()


def test_merged_rows_read_back_as_they_were(table, declaration, make_detections):
    rows = conform(make_detections(500), declaration)
    commit = table.merge(rows)
    assert (commit.inserted, commit.updated, commit.deleted) == (500, 0, 0)
    assert commit.version == table.version()
    assert table.read().equals(rows)
    assert table.count() == 500
    index = table.read([INDEX_COLUMN]).column(0).to_numpy()
    assert (index == healpix.index_of(rows.column("ra"), rows.column("dec"))).all()


def test_rows_may_come_as_mappings(table, make_detections):
    table.merge(make_detections(3).to_pylist())
    assert table.count() == 3


def test_merging_again_makes_no_version(table, make_detections):
    rows = make_detections(300)
    version = table.merge(rows).version
    assert table.merge(rows) == Commit(None)
    assert table.merge(rows.slice(17, 40)) == Commit(None)
    assert table.merge(table.read()) == Commit(None)
    assert table.version() == version


def test_a_row_that_moved_on_the_sky_leaves_its_old_place(table, make_detections):
    rows = make_detections(200)
    table.merge(rows)
    moved = changed(rows.slice(0, 20), "dec", [-value for value in rows.column("dec")[:20].to_pylist()])
    commit = table.merge(moved)
    assert (commit.inserted, commit.updated, commit.deleted) == (0, 20, 0)
    assert table.count() == 200
    assert table.read(where={"detid": (0, 20)}).column("dec").equals(moved.column("dec"))


def test_replace_removes_what_did_not_come_again(table, make_detections):
    table.merge(make_detections(50, expid=1))
    table.merge(make_detections(50, expid=2, first=50, seed=1))
    again = make_detections(30, expid=2, first=60, seed=2)
    commit = table.replace(again, {"expid": 2})
    assert (commit.inserted, commit.updated, commit.deleted) == (0, 30, 20)
    assert table.read(where={"expid": 2}).column("detid").to_pylist() == list(range(60, 90))
    assert table.count() == 80
    assert table.replace(again, {"expid": 2}) == Commit(None)


def test_replace_takes_a_key_from_wherever_it_is(table, make_detections):
    table.merge(make_detections(10, expid=1))
    table.replace(make_detections(10, expid=2), {"expid": 2})
    assert table.count() == 10
    assert table.count({"expid": 1}) == 0


def test_replacing_rows_must_meet_the_conditions(table, make_detections):
    with pytest.raises(UnusableInputError, match="detections: row 0 does not meet the conditions"):
        table.replace(make_detections(3, expid=1), {"expid": 2})


def test_delete(table, make_detections):
    table.merge(make_detections(100))
    assert table.delete({"detid": (10, 30)}).deleted == 20
    assert table.delete({"detid": (10, 30)}) == Commit(None)
    assert table.delete({}).deleted == 80
    assert table.count() == 0
    table.merge(make_detections(5))
    assert table.count() == 5


def test_a_key_given_twice_is_refused(table, make_detections):
    rows = make_detections(10)
    with pytest.raises(UnusableInputError, match=r"rows 3 and 10 have the same key detid=3.*Remedy"):
        table.merge(pa.concat_tables([rows, rows.slice(3, 1)]))


def test_a_row_without_a_position_is_refused(table, make_detections):
    rows = make_detections(4)
    with pytest.raises(UnusableInputError, match=r"row 2: \(nan, .*\) deg is no position on the sky"):
        table.merge(changed(rows, "ra", [1.0, 2.0, float("nan"), 4.0]))


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"band": "g"}, lambda t: pc.equal(t["band"], "g")),
        ({"band": ["g", "i"]}, lambda t: pc.not_equal(t["band"], "r")),
        ({"band": []}, lambda t: pc.equal(t["detid"], -1)),
        ({"mag": None}, lambda t: t["mag"].is_null()),
        ({"detid": (10, 20)}, lambda t: pc.and_(pc.greater_equal(t["detid"], 10), pc.less(t["detid"], 20))),
        ({"ra": (None, 40.0)}, lambda t: pc.less(t["ra"], 40.0)),
        ({"mag": (20.0, None), "band": "r"},
         lambda t: pc.and_(pc.greater_equal(t["mag"], 20.0), pc.equal(t["band"], "r"))),
        ({"seen": (FIVE_PAST, None)},
         lambda t: pc.greater_equal(t["seen"], pa.scalar(FIVE_PAST, t["seen"].type))),
    ],
)  # fmt: skip
def test_conditions(table, make_detections, where, wanted):
    rows = make_detections(400)
    table.merge(rows.slice(0, 250))
    table.merge(rows.slice(250))
    everything = table.read()
    expected = everything.filter(wanted(everything))
    assert table.read(where=where).equals(expected)
    assert table.count(where) == expected.num_rows


def test_conditions_are_data_not_text(table, make_detections):
    table.merge(make_detections(10))
    assert table.count({"band": "g' OR '1'='1"}) == 0
    with pytest.raises(UnusableInputError, match="no column \"band = 'g' --\" to select by"):
        table.read(where={"band = 'g' --": 1})
    with pytest.raises(UnusableInputError, match="'x' cannot be compared with column detid of type int64"):
        table.read(where={"detid": "x"})


def test_unknown_columns_are_refused(table, make_detections):
    table.merge(make_detections(1))
    with pytest.raises(
        UnusableInputError, match=r"detections: unknown column magg.*columns are _healpix_29, detid"
    ):
        table.read(["magg"])


def test_time_travel(table, make_detections):
    first = table.merge(make_detections(10)).version
    between = table.history()[0]["time"]
    second = table.merge(make_detections(5, first=10, seed=1)).version
    assert table.read(version=first).num_rows == 10
    assert table.count(version=second) == 15
    assert table.count(version=between) == 10
    with pytest.raises(ConfigurationError, match="there is no version 99"):
        table.read(version=99)


def test_history_tells_what_changed(table, make_detections):
    table.merge(make_detections(10))
    table.replace(make_detections(4, seed=1), {"expid": 0})
    newest, previous, *_ = table.history()
    assert newest["operation"] == "replace"
    assert (newest["inserted"], newest["updated"], newest["deleted"]) == (0, 4, 6)
    assert previous["operation"] == "merge"
    assert newest["time"].tzinfo == UTC


def test_cone_finds_what_a_full_scan_finds(table, make_detections):
    table.merge(make_detections(2000, around=(359.9, 45.0, 0.5)))
    rows = table.read()
    for centre, radius in [((359.95, 45.0), 60.0), ((0.01, 45.2), 600.0), ((180.0, 0.0), 60.0)]:
        inside = healpix.within_cone(rows.column("ra"), rows.column("dec"), centre, radius / 3600.0)
        assert table.cone(*centre, radius).equals(rows.filter(pa.array(inside)))
    assert table.cone(359.95, 45.0, 60.0, ["detid"]).schema.names == ["detid"]


def test_cone_refuses_nonsense(table, make_detections):
    table.merge(make_detections(1))
    with pytest.raises(UnusableInputError, match="is no cone"):
        table.cone(0.0, 91.0, 5.0)


def test_a_table_without_a_place_on_the_sky(storage, flat_declaration):
    from zsds_tasks.lakehouse.tables import Table

    table = Table(storage, flat_declaration)
    rows = [{"stage": "raw", "expid": n, "seconds": float("nan")} for n in range(20)]
    table.merge(rows)
    assert table.merge(rows) == Commit(None)
    assert table.merge([{"stage": "raw", "expid": 3, "seconds": None}]).updated == 1
    assert table.merge([{"stage": "sci", "expid": 3, "seconds": 1.0}]).inserted == 1
    assert table.read(where={"expid": 3}).to_pylist() == [
        {"stage": "raw", "expid": 3, "seconds": None},
        {"stage": "sci", "expid": 3, "seconds": 1.0},
    ]
    with pytest.raises(UnusableInputError, match="runs: is not laid out over the sky"):
        table.cone(1.0, 2.0, 3.0)
