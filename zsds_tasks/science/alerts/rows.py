"""Rows of tables as a packet holds them: dicts for those who read it, bytes for those it is sent to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import RecordType, Row
from zsds_tasks.science.alerts.columns import encode_rows
from zsds_tasks.science.alerts.writer import EncodedRows


class RowStore:
    """Rows of tables that many packets hold: made into dicts or bytes once, and only if somebody asks.

    Parameters
    ----------
    record : RecordType
    tables : sequence of pyarrow.Table
        As `rows_of` takes them. Their rows are counted through, the first table first.
    """

    def __init__(self, record: RecordType, tables: Sequence[pa.Table]) -> None:
        self.record = record
        self._tables = tuple(tables)

    @cached_property
    def rows(self) -> list[Row]:
        """All rows as dicts."""
        return [row for table in self._tables for row in rows_of(table, self.record)]

    @cached_property
    def encoded(self) -> list[bytes]:
        """All rows as Avro binary."""
        return [row for table in self._tables for row in encode_rows(table, self.record)]


class StoredRows(EncodedRows):
    """Some rows of a store, in an order of their own; read as dicts, which one must not change.

    Parameters
    ----------
    store : RowStore
    indices : sequence of int
    """

    def __init__(self, store: RowStore, indices: Sequence[int]) -> None:
        super().__init__(store.record)
        self._store, self._indices = store, indices

    def encoded(self) -> bytes:
        """Return all rows as Avro binary."""
        encoded = self._store.encoded
        return b"".join([encoded[index] for index in self._indices])

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, item: int) -> Row: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[Row]: ...
    def __getitem__(self, item: int | slice) -> Row | Sequence[Row]:
        if isinstance(item, slice):
            return StoredRows(self._store, self._indices[item])
        return self._store.rows[self._indices[item]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have none


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
    require(table, record)
    there = set(table.column_names)
    names = record.names
    columns = [_values(table.column(name)) if name in there else [None] * table.num_rows for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def require(table: pa.Table, record: RecordType) -> None:
    """Raise UnusableInputError that names the fields if a required one has no value somewhere."""
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
