"""Parquet as we write it: the same rows back, by other readers too, in fewer bytes, in small row groups."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.lakehouse.encoding import ROWS_PER_GROUP, VALUES_PER_GROUP, encode, rows_per_group

TYPES = [
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
    pa.binary(), pa.timestamp("us", tz="UTC"), pa.list_(pa.float32()), pa.list_(pa.string()),
    pa.struct([("t", pa.list_(pa.float64())), ("flag", pa.list_(pa.int32()))]),
]  # fmt: skip


def column_of(kind, random, rows):
    """Return a column with nulls, NaN, repeated and distinct values."""
    if pa.types.is_struct(kind):
        lengths = random.integers(0, 5, rows)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        inner = [column_of(f.type.value_type, random, int(lengths.sum())) for f in kind]
        lists = [pa.ListArray.from_arrays(offsets, one) for one in inner]
        return pa.StructArray.from_arrays(lists, fields=list(kind))
    if pa.types.is_list(kind):
        lengths = random.integers(0, 5, rows)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, column_of(kind.value_type, random, int(lengths.sum())))
    values = (
        random.integers(-100, 100, rows) if random.random() < 0.5 else np.repeat(random.integers(0, 9), rows)
    )
    mask = random.random(rows) < random.choice([0.0, 0.3, 1.0])
    if pa.types.is_floating(kind):
        made = np.where(random.random(rows) < 0.1, np.nan, values + random.normal(size=rows))
        return pa.array(made.astype(kind.to_pandas_dtype()), kind, mask=mask)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pa.array(values.astype(str), pa.string(), mask=mask).cast(kind)
    return pa.array(values, pa.int64(), mask=mask).cast(kind)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(0, 80), kinds=st.lists(st.sampled_from(TYPES), min_size=1)
)
def test_rows_come_back_as_they_were(seed, rows, kinds):
    random = np.random.default_rng(seed)
    table = pa.table({f"c{k}": column_of(kind, random, rows) for k, kind in enumerate(kinds)})
    content = encode(table)
    back = pq.read_table(pa.BufferReader(content))
    assert back.schema == table.schema
    # NaN equals NaN in the text of a row.
    assert str(back.to_pylist()) == str(table.to_pylist())
    assert encode(table).equals(content)


@pytest.fixture
def numbers():
    random = np.random.default_rng(4)
    n = 30_000
    return pa.table({
        "id": np.sort(random.integers(0, 2**60, n)), "ra": random.uniform(0, 360, n),
        "mag": random.normal(18, 1, n).astype("f4"), "fid": random.integers(1, 4, n).astype("i1"),
    })  # fmt: skip


def test_other_readers_read_the_encodings(numbers, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(encode(numbers))
    columns = {
        c.path_in_schema: set(c.encodings) for c in map(pq.read_metadata(path).row_group(0).column, range(4))
    }
    assert "DELTA_BINARY_PACKED" in columns["id"]
    assert "BYTE_STREAM_SPLIT" in columns["ra"]
    assert "BYTE_STREAM_SPLIT" in columns["mag"]
    assert "RLE_DICTIONARY" in columns["fid"]
    assert pl.read_parquet(path).to_arrow().cast(numbers.schema).equals(numbers)
    assert duckdb.read_parquet(str(path)).to_arrow_table().cast(numbers.schema).equals(numbers)


def test_values_within_lists_are_encoded_as_others_are(tmp_path):
    random = np.random.default_rng(5)
    offsets = pa.array(np.arange(0, 5001, 50), pa.int32())
    times = pa.ListArray.from_arrays(offsets, pa.array(np.sort(random.uniform(58_000, 60_000, 5000))))
    curve = pa.StructArray.from_arrays([times], names=["hmjd"])
    path = tmp_path / "nested.parquet"
    path.write_bytes(encode(pa.table({"id": np.arange(100), "curve": curve})))
    group = pq.read_metadata(path).row_group(0)
    leaf = next(c for c in map(group.column, range(2)) if c.path_in_schema.startswith("curve"))
    assert "BYTE_STREAM_SPLIT" in leaf.encodings
    read = duckdb.read_parquet(str(path)).order("id").fetchall()[0]
    assert read[1]["hmjd"] == times[0].as_py()


def test_they_take_less_than_plain_values(numbers):
    sink = pa.BufferOutputStream()
    pq.write_table(numbers, sink, compression="zstd", compression_level=3)
    assert encode(numbers).size < 0.8 * sink.getvalue().size


@pytest.mark.parametrize("epochs", [0, 3, 200, 100_000])
def test_row_groups_of_light_curves_hold_about_as_many_epochs(epochs):
    rows = 1000 if epochs <= 200 else 3
    offsets = pa.array(np.arange(rows + 1) * epochs, pa.int32())
    times = pa.ListArray.from_arrays(offsets, pa.array(np.zeros(rows * epochs)))
    table = pa.table({"id": np.arange(rows), "curve": pa.StructArray.from_arrays([times], names=["t"])})
    size = rows_per_group(table)
    assert 1 <= size <= ROWS_PER_GROUP
    assert size == 1 or size * epochs <= VALUES_PER_GROUP
    assert size * epochs > VALUES_PER_GROUP / 2 or size == ROWS_PER_GROUP
    assert rows_per_group(table.drop_columns(["curve"])) == ROWS_PER_GROUP
