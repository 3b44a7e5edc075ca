"""Rows of tables as Avro, column by column: the bytes of fastavro, row by row, and the same complaints."""

import io
import json

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from packet_builders import arrow_schema, make_record, make_typical_packet

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import load_packet_schema
from zsds_tasks.science.alerts.columns import ROWS_AT_ONCE, encode_rows
from zsds_tasks.science.alerts.encode import encoder_of
from zsds_tasks.science.alerts.rows import RowStore, StoredRows, rows_of
from zsds_tasks.science.alerts.writer import RecordWriter

SCHEMA = load_packet_schema()
ENCODER = encoder_of(SCHEMA)
PREVIOUS, FORCED, CANDIDATE = (SCHEMA.record(name) for name in ("prv_candidate", "fp_hist", "candidate"))


def make_table(record, count, seed, nulls=0.3):
    rng = np.random.default_rng(seed)
    rows = [make_record(record, rng, nulls=nulls) for _ in range(count)]
    return pa.Table.from_pylist(rows, arrow_schema(record))


def with_column(table, name, values, type_=None):
    return table.set_column(table.column_names.index(name), name, pa.array(values, type_))


def by_fastavro(rows, record):
    """Write rows as a library does that asks every value what it is."""
    schema = fastavro.parse_schema(
        {
            "type": "record",
            "name": "row",
            "fields": [
                {"name": f.name, "type": ["null", f.kind] if f.is_nullable else f.kind} for f in record.fields
            ],
        }
    )
    written = []
    for row in rows:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, schema, row)
        written.append(body.getvalue())
    return written


@pytest.mark.parametrize("record", [PREVIOUS, FORCED, CANDIDATE], ids=lambda record: record.name)
@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
def test_fastavro_writes_the_same_rows(record, nulls):
    table = make_table(record, 40, 7, nulls)
    assert encode_rows(table, record) == by_fastavro(rows_of(table, record), record)


def test_however_a_table_is_cut_into_pieces():
    table = make_table(FORCED, 7, 3)
    pieces = pa.concat_tables([table.slice(2, 5), table.slice(0, 2), table] * 200)
    assert pieces.num_rows > ROWS_AT_ONCE
    encoded = encode_rows(table, FORCED)
    assert encode_rows(pieces, FORCED) == [*encoded[2:], *encoded[:2], *encoded] * 200
    assert encode_rows(table.slice(0, 0), FORCED) == []


INTS = [0, -1, 1, 63, 64, -64, -65, 8191, 8192, -8193, 2**31 - 1, -(2**31), None]
LONGS = [*INTS, 2**31, 2**62, -(2**62) - 1, 2**63 - 1, -(2**63)]
REALS = [0.0, -0.0, np.nan, np.inf, -np.inf, float(np.finfo(np.float32).max), 1e-45, 1e-60, 0.1, None]
TEXTS = ["", "a", "ä" * 200, "with\0zero\0", "\0", "a", None]


@pytest.mark.parametrize(
    ("name", "values", "type_"),
    [("field", INTS, pa.int32()), ("field", INTS, pa.int64()), ("candid", LONGS, pa.int64()),
     ("tblid", [0, 200, None], pa.uint8()), ("candid", [0, 2**63 - 1, None], pa.uint64()),
     ("magap", REALS, pa.float64()), ("magap", REALS, pa.float32()), ("ra", [*REALS, 1e300], pa.float64()),
     ("ra", [0.1, None], pa.float32()), ("ra", [1, 2**62 + 1, None], pa.int64()), ("magap", [7], pa.int16()),
     ("ssnamenr", TEXTS, pa.string()), ("ssnamenr", TEXTS, pa.large_string()),
     ("ssnamenr", TEXTS, pa.dictionary(pa.int8(), pa.string())), ("ssnamenr", [None, None], pa.null())],
)  # fmt: skip
def test_values_at_the_borders_of_their_types_in_columns_of_any_type(name, values, type_):
    if name == "ssnamenr" and not PREVIOUS[name].is_nullable:
        values = [value for value in values if value is not None]
    table = with_column(make_table(PREVIOUS, len(values), 1), name, values, type_)
    rows = [row | {name: value} for row, value in zip(rows_of(table, PREVIOUS), values, strict=True)]
    writer = RecordWriter(PREVIOUS)
    rows = [
        row | {name: np.float32(row[name]).item()} if type_ == pa.float32() and row[name] else row
        for row in rows
    ]
    assert encode_rows(table, PREVIOUS) == [writer.write(row) for row in rows]


def test_absent_columns_are_null_and_strange_ones_left_alone():
    table = make_table(PREVIOUS, 5, 2, nulls=0.0)
    less = table.drop_columns(["magpsf", "ssnamenr"]).append_column("strange", [[{}] * 5])
    rows = [row | {"magpsf": None, "ssnamenr": None} for row in rows_of(table, PREVIOUS)]
    assert encode_rows(less, PREVIOUS) == by_fastavro(rows, PREVIOUS)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("jd", [1.0, None], r"prv_candidate\.jd: may not be null"),
        ("field", [1, 2**31], r"prv_candidate\.field: 2147483648 is no int: too large"),
        ("field", [-(2**31) - 1, None], r"prv_candidate\.field: -2147483649 is no int: too large"),
        ("field", [1.0, 1.5], r"prv_candidate\.field: 1\.0 is no int"),
        ("field", ["a", None], r"prv_candidate\.field: 'a' is no int"),
        ("magap", [0.0, 3.5e38], r"prv_candidate\.magap: 3\.5e\+38 is no float: too large"),
        ("magap", ["bright", None], r"prv_candidate\.magap: 'bright' is no float"),
        ("ssnamenr", [5, 5], r"prv_candidate\.ssnamenr: 5 is no string"),
        ("pid", pa.array([2**63, 1], pa.uint64()), r"prv_candidate\.pid: 9223372036854775808 is no long"),
    ],
)
def test_what_does_not_fit_is_named(name, values, message):
    table = with_column(make_table(PREVIOUS, 2, 1), name, values)
    with pytest.raises(UnusableInputError, match=message):
        encode_rows(table, PREVIOUS)


def test_a_required_column_that_is_absent_is_named():
    with pytest.raises(UnusableInputError, match=r"prv_candidate\.jd: may not be null"):
        encode_rows(make_table(PREVIOUS, 2, 1).drop_columns(["jd"]), PREVIOUS)


def test_stored_rows_are_read_as_a_list_of_dicts():
    tables = [make_table(FORCED, 4, seed, nulls=0.1) for seed in (1, 2)]
    dicts = [row for table in tables for row in rows_of(table, FORCED)]
    rows = StoredRows(RowStore(FORCED, tables), [5, 0, 7])
    expected = [dicts[5], dicts[0], dicts[7]]
    assert len(rows) == 3
    assert rows == expected == list(rows)
    assert rows != expected[:2]
    assert rows != "abc"
    assert rows[-1] == dicts[7]
    assert rows[1:] == expected[1:]
    assert not StoredRows(RowStore(FORCED, tables), [])


@pytest.mark.parametrize("order", [[], [2], [1, 0, 1, 3]])
def test_a_packet_of_stored_rows_has_the_bytes_of_one_of_dicts(order):
    tables = [make_table(record, 4, 5) for record in (PREVIOUS, FORCED)]
    previous, forced = (
        StoredRows(RowStore(record, [table]), order)
        for record, table in zip((PREVIOUS, FORCED), tables, strict=True)
    )
    packet = make_typical_packet(np.random.default_rng(2), 0, 0)
    stored = ENCODER.encode(packet | {"prv_candidates": previous, "fp_hists": forced})
    plain = packet | {"prv_candidates": list(previous), "fp_hists": list(forced)}
    assert stored == ENCODER.encode(plain)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, json.loads(SCHEMA.text), plain)
    assert body.getvalue() in stored


def test_rows_of_another_record_are_written_as_what_the_packet_wants():
    table = make_table(CANDIDATE, 2, 5, nulls=0.0)
    packet = make_typical_packet(np.random.default_rng(2), 0, 0)
    stored = StoredRows(RowStore(CANDIDATE, [table]), [0, 1])
    assert ENCODER.encode(packet | {"prv_candidates": stored}) == ENCODER.encode(
        packet | {"prv_candidates": rows_of(table, CANDIDATE)}
    )
