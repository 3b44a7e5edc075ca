"""Declarations refuse what is wrong, by key and reason; rows conform without loss, or are refused by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import DeclarationError, UnusableInputError
from zsds_tasks.products.tables import (
    INDEX_COLUMN,
    arrow_schema,
    conform,
    empty,
    list_tables,
    load_table,
    parse_table,
    row_schema,
)

TEXT = """
table: things
description: One row per thing.
key: [id]
partition: {kind: healpix, ra: ra, dec: dec, order: 1, max_rows: 1000}
columns:
  - {name: id, type: int64, unit: "", ucd: meta.id;meta.main, description: Identifier., range: [0, null]}
  - {name: fid, type: int8, description: Filter., values: [1, 2, 3]}
  - {name: ra, type: float64, unit: deg, ucd: pos.eq.ra;meta.main, description: R.A., range: [0, 360]}
  - {name: dec, type: float64, unit: deg, ucd: pos.eq.dec;meta.main, description: Dec., range: [-90, 90]}
  - {name: mag, type: float32, unit: mag, ucd: phot.mag, description: Magnitude., nullable: true}
  - {name: seen, type: timestamp, ucd: time.epoch, description: When., nullable: true}
  - {name: past, type: list<float32>, unit: electron/s, description: Before., nullable: true}
  - {name: name, type: string, pattern: "^ztf_", description: Name.}
  - {name: stamp, type: binary, description: Picture., nullable: true}
  - {name: good, type: bool, description: Fit for use.}
"""
DECLARATION = parse_table(TEXT)
ROW = {
    "id": 1, "fid": 2, "ra": 10.0, "dec": -5.0, "mag": 20.5, "seen": datetime(2026, 1, 1, tzinfo=UTC),
    "past": [1.0, None, 2.5], "name": "ztf_a", "stamp": b"\x00", "good": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit: electron/s", "unit: banana", r"columns\.6\[past\]\.unit: 'banana' is not a unit"),
        ("meta.id;", "meta.idd;", r"columns\.0\[id\]\.ucd: 'meta.idd;meta.main' is not a UCD1\+.*meta\.idd"),
        ("phot.mag", "meta.main", r"columns\.4\[mag\]\.ucd: .*not valid as a primary word"),
        ("key: [id]", "key: [idd]", "key names column 'idd', which is not declared"),
        ("key: [id]", "key: [id, id]", "key names a column twice"),
        ("key: [id]", "key: [mag]", "key column mag is nullable"),
        ("key: [id]", "key: [ra]", "key column ra has type float64, which cannot be compared exactly"),
        ("key: [id]", "key: []", "key: Tuple should have at least 1 item"),
        ("type: int8", "type: int9", r"columns\.1\[fid\]\.type: unknown type 'int9'; known: bool, int8"),
        ("list<float32>", "list<list<int8>>", "unknown type 'list<list<int8>>'"),
        ("range: [0, 360]", "range: [0, 1, 2]", r"columns\.2\[ra\]\.range: "),
        ("range: [0, 360]", "range: [3, 1]", "the range starts at 3 and ends below it, at 1"),
        ("type: string,", "type: string, range: [0, 1],", "a range needs a numeric type"),
        ("fid, type", "fid, typo: 3, type", r"columns\.1\[fid\]\.typo: Extra inputs"),
        ("values: [1, 2, 3]", "values: [1, x]", "value 'x' does not fit type int8"),
        ("values: [1, 2, 3]", "values: []", "values is empty"),
        ("values: [1, 2, 3]", "values: [true]", "value True does not fit type int8"),
        ('"^ztf_"', '"^(ztf"', "is not a regular expression"),
        ("type: binary,", 'type: binary, pattern: "x",', "a pattern needs type string"),
        ("kind: healpix", "kind: healpixx", "partition: Input tag 'healpixx'"),
        ("max_rows: 1000", "max_rows: 0", r"partition\.healpix\.max_rows: "),
        ("order: 1,", "", r"partition\.healpix\.order: Field required"),
        ("ra: ra,", "ra: raa,", "partition.ra names column 'raa', which is not declared"),
        ("ra: ra,", "ra: mag,", "partition.ra column mag must be float64, in deg, not nullable"),
        ("name: fid", "name: id", "columns: declared twice: id"),
        ("name: fid", "name: Npix", "is a level of the HATS folder tree"),
        ("name: fid", "name: _healpix_29", "column names are lower case letters"),
        ("name: fid", "name: fid x", "column names are lower case letters"),
        ("description: Filter.", 'description: ""', r"columns\.1\[fid\]\.description: "),
        ("table: things", "table: Things", "table names are lower case letters"),
        ("fid, type: int8", 'fid, nullable: "yes", type: int8', r"columns\.1\[fid\]\.nullable: "),
        ("columns:", "columns: 3\nrest:", "columns: Input should be a valid tuple"),
    ],
)  # fmt: skip
def test_wrong_declarations_are_refused_by_key_and_reason(old, new, message):
    assert old in TEXT
    with pytest.raises(DeclarationError, match=message) as caught:
        parse_table(TEXT.replace(old, new), subject="things.yaml")
    assert str(caught.value).startswith("things.yaml: ")
    assert "Remedy" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("- 1", "holds no mapping"), ("a: [", "is not YAML"), ("", "holds no")]
)
def test_what_is_no_declaration_at_all(text, message):
    with pytest.raises(DeclarationError, match=message):
        parse_table(text)


def test_schemas():
    schema = arrow_schema(DECLARATION)
    assert schema.names == [INDEX_COLUMN, *DECLARATION.names]
    assert row_schema(DECLARATION).names == list(DECLARATION.names)
    assert schema.field("seen").type == pa.timestamp("us", tz="UTC")
    assert schema.field("mag").metadata == {
        b"unit": b"mag",
        b"ucd": b"phot.mag",
        b"description": b"Magnitude.",
    }
    assert schema.field("mag").nullable
    assert not schema.field("id").nullable
    assert DECLARATION.column("fid").values == (1, 2, 3)
    assert DECLARATION.column("id").range == (0, None)
    with pytest.raises(KeyError):
        DECLARATION.column("nothing")


def test_a_table_without_partition_has_no_index():
    flat = parse_table(
        "table: t\ndescription: d.\nkey: [a]\ncolumns: [{name: a, type: int8, description: d.}]"
    )
    assert flat.healpix is None
    assert arrow_schema(flat).names == ["a"]


def test_loading_from_a_folder(tmp_path):
    folder = tmp_path / "schemas" / "tables"
    folder.mkdir(parents=True)
    (folder / "things.yaml").write_text(TEXT)
    (folder / "wrong.yaml").write_text(TEXT)
    assert list_tables(tmp_path) == ["things", "wrong"]
    assert load_table("things", tmp_path) == DECLARATION
    assert load_table("things", tmp_path) is load_table("things", tmp_path)
    with pytest.raises(DeclarationError, match=r"says 'things', but the file is called 'wrong.yaml'"):
        load_table("wrong", tmp_path)
    with pytest.raises(
        DeclarationError, match=r"table 'nothing' is not declared. Remedy: declared tables: things"
    ):
        load_table("nothing", tmp_path)


def test_nothing_conforms():
    assert conform([], DECLARATION).equals(empty(DECLARATION))
    assert conform(empty(DECLARATION), DECLARATION).equals(empty(DECLARATION))


def test_rows_and_columns_conform_alike():
    table = conform([ROW, ROW], DECLARATION)
    assert table.schema.equals(row_schema(DECLARATION), check_metadata=True)
    assert conform(table.select(list(reversed(table.schema.names))), DECLARATION).equals(table)
    assert table.to_pylist() == [ROW, ROW]
    indexed = table.append_column(INDEX_COLUMN, pa.array([1, 2]))
    assert conform(indexed, DECLARATION).equals(table)
    assert conform(table.to_batches()[0], DECLARATION).equals(table)


def test_pandas_and_polars_conform():
    import polars as pl

    table = conform([ROW], DECLARATION)
    assert conform(pl.from_arrow(table).to_arrow(), DECLARATION).equals(table)
    assert conform(pa.Table.from_pandas(table.to_pandas(), preserve_index=False), DECLARATION).equals(table)


def test_numpy_scalars_and_other_zones_conform():
    local = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    row = ROW | {"id": np.int64(1), "mag": np.float32(20.5), "seen": local, "good": np.True_}
    assert conform([row], DECLARATION).to_pylist() == [ROW]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fid": 300}, "things: column fid, row 1: 300 does not fit int8"),
        ({"fid": float("nan")}, "column fid, row 1: nan does not fit int8"),
        ({"fid": 1.5}, "column fid, row 1: 1.5 does not fit int8"),
        ({"fid": True}, "column fid, row 1: True does not fit int8"),
        ({"id": None}, "column id, row 1: null, but the column is not nullable"),
        ({"id": "1"}, "column id, row 1: '1' does not fit int64"),
        ({"name": b"x"}, "column name, row 1: b'x' does not fit string"),
        ({"stamp": "x"}, "column stamp, row 1: 'x' does not fit binary"),
        ({"seen": 3.0}, "column seen, row 1: 3.0 does not fit timestamp"),
        ({"past": "abc"}, "column past, row 1: 'abc' does not fit list"),
        ({"extra": 1}, "things: unknown column extra"),
    ],
)
def test_rows_that_do_not_conform_are_refused(change, message):
    with pytest.raises(UnusableInputError, match=message) as caught:
        conform([ROW, ROW | change], DECLARATION)
    assert "Remedy" in str(caught.value)


def test_missing_and_doubled_columns_are_refused():
    table = conform([ROW], DECLARATION)
    with pytest.raises(UnusableInputError, match="missing columns id, mag"):
        conform(table.drop_columns(["mag", "id"]), DECLARATION)
    with pytest.raises(UnusableInputError, match="doubled column id"):
        conform(table.append_column("id", table.column("id")), DECLARATION)
    with pytest.raises(UnusableInputError, match="row 0 is a int, not a mapping"):
        conform([1], DECLARATION)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("mag", pa.array([1.0, 1e300]), r"column mag, row 1: 1e\+300 does not fit float"),
        ("id", pa.array([1.0, 2.5]), "column id, row 1: 2.5 does not fit int64"),
        ("id", pa.array([1, 2**63], pa.uint64()), "column id, row 1: 9223372036854775808 does not fit int64"),
        ("id", pa.array(["1", "2"]), "column id has type string, which is no int64"),
        ("id", pa.array([1, None]), "column id, row 1: null, but"),
        ("good", pa.array([1, 0]), "column good has type int64, which is no bool"),
        ("seen", pa.array([0, 1500], pa.timestamp("ns")), "column seen, row 1: .* does not fit timestamp"),
    ],
)
def test_columns_that_do_not_conform_are_refused(column, values, message):
    table = conform([ROW, ROW], DECLARATION)
    position = table.schema.get_field_index(column)
    with pytest.raises(UnusableInputError, match=message):
        conform(table.set_column(position, column, values), DECLARATION)


@settings(max_examples=50, derandomize=True)
@given(
    st.lists(st.integers(-(2**63), 2**64 - 1), max_size=5),
    st.sampled_from(["int8", "int16", "int32", "int64"]),
)
def test_integers_survive_or_are_refused(numbers, type_):
    text = f"table: t\ndescription: d.\nkey: [a]\ncolumns: [{{name: a, type: {type_}, description: d.}}]"
    declaration = parse_table(text)
    bits = int(type_.removeprefix("int"))
    fits = all(-(2 ** (bits - 1)) <= number < 2 ** (bits - 1) for number in numbers)
    rows = [{"a": number} for number in numbers]
    if fits:
        assert conform(rows, declaration).to_pylist() == rows
    else:
        with pytest.raises(UnusableInputError, match="does not fit"):
            conform(rows, declaration)
