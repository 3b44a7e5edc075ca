"""Rows to Parquet bytes, with the statistics that let readers skip them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_PER_GROUP = 20_000
"""Small enough that a cone of arcseconds reads one or two groups, large enough to compress."""
_LONGEST_TEXT = 64
"""Longer text is left out of the statistics: a truncated maximum would be wrong."""


def encode(table: pa.Table) -> pa.Buffer:
    """Return a table as one Parquet file: ZSTD, small row groups, statistics on every column.

    Parameters
    ----------
    table : pyarrow.Table
        Sorted as it shall be stored.

    Returns
    -------
    pyarrow.Buffer
        The same bytes for the same rows.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3, row_group_size=ROWS_PER_GROUP)
    return sink.getvalue()


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
