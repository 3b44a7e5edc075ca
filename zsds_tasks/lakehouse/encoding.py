"""Rows to Parquet bytes, with the statistics that let readers skip them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_PER_GROUP = 20_000
"""Small enough that a cone of arcseconds reads one or two groups, large enough to compress."""
VALUES_PER_GROUP = 20_000
"""Of tables with nested columns: a row group holds about so many nested rows, by the mean of its file, so
that one light curve is read in milliseconds."""
_LONGEST_TEXT = 64
"""Longer text is left out of the statistics: a truncated maximum would be wrong."""
_SAMPLE = 4096
_DISTINCT_SHARE = 0.25
"""A column that repeats itself more than this, by its first values, is worth a dictionary."""


def encode(table: pa.Table) -> pa.Buffer:
    """Return a table as one Parquet file: ZSTD, small row groups, statistics on every column.

    Numbers that repeat get a dictionary; other floats are split into streams of their bytes, of which those
    of the exponents compress, and other integers are stored as differences: half the bytes of plain values.

    Parameters
    ----------
    table : pyarrow.Table
        Sorted as it shall be stored.

    Returns
    -------
    pyarrow.Buffer
        The same bytes for the same rows.
    """
    with_dictionary, others = [], {}
    for path, values in (leaf for name in table.column_names for leaf in _leaves(name, table.column(name))):
        encoding = _encoding_of(values)
        if encoding is None:
            with_dictionary.append(path)
        else:
            others[path] = encoding
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=rows_per_group(table),
        use_dictionary=with_dictionary,
        column_encoding=others,
    )
    return sink.getvalue()


def rows_per_group(table: pa.Table) -> int:
    """Return how many rows of a table make a row group: fewer the more nested rows they hold."""
    nested = [
        field.name
        for field in table.schema
        if pa.types.is_struct(field.type) and field.type.num_fields and pa.types.is_list(field.type[0].type)
    ]
    held = [sum(len(c.field(0).flatten()) for c in table.column(name).chunks) for name in nested]
    return max(1, min(ROWS_PER_GROUP, VALUES_PER_GROUP * table.num_rows // max([1, *held])))


def _leaves(path: str, column: pa.ChunkedArray | pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield the leaf columns that Parquet makes of a column: their paths, and the first of their values."""
    head = column.slice(0, _SAMPLE)
    whole = head.combine_chunks() if isinstance(head, pa.ChunkedArray) else head
    if pa.types.is_struct(whole.type):
        for number, field in enumerate(whole.type):
            yield from _leaves(f"{path}.{field.name}", whole.field(number))
    elif pa.types.is_list(whole.type):
        yield from _leaves(f"{path}.list.element", whole.flatten())
    else:
        yield path, whole


def _encoding_of(values: pa.Array) -> str | None:
    """Return the encoding of a leaf; None for a dictionary."""
    kind = values.type
    if pa.types.is_boolean(kind):
        return "PLAIN"
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_timestamp(kind)
    if not numeric or pc.count_distinct(values).as_py() <= _DISTINCT_SHARE * len(values):
        return None
    return "BYTE_STREAM_SPLIT" if pa.types.is_floating(kind) else "DELTA_BINARY_PACKED"


def delta_statistics(table: pa.Table) -> str:
    """Return the statistics of a file as Delta writes them into its log.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    str
        JSON with ``numRecords``, ``minValues``, ``maxValues``, ``nullCount``. Nested ones, bytes, long text
        and columns with NaN or infinity have no extremes: a reader must look inside.
    """
    smallest: dict[str, Any] = {}
    largest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_nested(field.type):
            continue
        nulls[field.name] = column.null_count
        extremes = _extremes(column)
        if extremes is not None:
            smallest[field.name], largest[field.name] = extremes
    return json.dumps(
        {"numRecords": table.num_rows, "minValues": smallest, "maxValues": largest, "nullCount": nulls},
        allow_nan=False,
    )


def _extremes(column: pa.ChunkedArray) -> tuple[Any, Any] | None:
    type_ = column.type
    if pa.types.is_binary(type_) or pa.types.is_boolean(type_) or column.null_count == len(column):
        return None
    if pa.types.is_floating(type_) and not pc.all(pc.is_finite(column)).as_py():
        return None
    if pa.types.is_string(type_) and pc.max(pc.binary_length(column)).as_py() > _LONGEST_TEXT:
        return None
    low, high = pc.min_max(column).values()
    if pa.types.is_timestamp(type_):
        return tuple(moment.as_py().strftime("%Y-%m-%dT%H:%M:%S.%fZ") for moment in (low, high))
    return low.as_py(), high.as_py()
