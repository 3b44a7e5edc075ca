"""Rows of tables as the dicts of a packet, column by column: an exposure needs tens of thousands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import RecordType, Row


def rows_of(table: pa.Table, record: RecordType) -> list[Row]:
    """Return the rows of a table as rows of a record.

    Parameters
    ----------
    table : pyarrow.Table (n)
        Columns bear the published names; those it lacks become null, others are left out.
    record : RecordType

    Returns
    -------
    list of dict (n)
        Exactly the fields of the record, in its order.

    Raises
    ------
    UnusableInputError
        If a required field has no value somewhere; names the fields.
    """
    there = set(table.column_names)
    absent = [
        name
        for name in record.required
        if table.num_rows and (name not in there or table.column(name).null_count)
    ]
    if absent:
        raise UnusableInputError(
            f"no value for {', '.join(absent)}",
            subject=record.name,
            remedy="compute what the schema requires, or leave the row out",
            rows=table.num_rows,
        )
    names = record.names
    columns = [_values(table.column(name)) if name in there else [None] * table.num_rows for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python values; ten times as fast as the general way for numbers."""
    whole = column.combine_chunks()
    if whole.null_count == len(whole):
        return [None] * len(whole)
    if pa.types.is_string(whole.type):
        # File names and versions come again and again: one object each.
        encoded = whole.dictionary_encode()
        words = [*encoded.dictionary.to_pylist(), None]
        return [words[k] for k in encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    if not (pa.types.is_integer(whole.type) or pa.types.is_floating(whole.type)):
        values: list[Any] = whole.to_pylist()
        return values
    values = whole.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    for k in np.flatnonzero(whole.is_null().to_numpy(zero_copy_only=False)) if whole.null_count else ():
        values[k] = None
    return values
