"""When are two rows the same row, and when have they the same content? Compared whole columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.errors import UnusableInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def row_codes(tables: Sequence[pa.Table], key: Sequence[str]) -> list[NDArray[np.int64]]:
    """Give the distinct keys of several tables common numbers.

    Parameters
    ----------
    tables : sequence of pyarrow.Table
        With the key columns, in the same types and without nulls.
    key : sequence of str

    Returns
    -------
    list of numpy.ndarray, int64
        For each table one code per row; two rows have the same code exactly if all key columns agree.
    """
    total = sum(table.num_rows for table in tables)
    codes = np.zeros(total, dtype=np.int64)
    for number, name in enumerate(key if total else ()):
        column = pa.chunked_array([chunk for table in tables for chunk in table.column(name).chunks])
        values = pc.dictionary_encode(column).combine_chunks().indices.to_numpy().astype(np.int64)
        if number == 0:
            codes = values
            continue
        # Dense again after each column, so that the product never overflows.
        _, codes = np.unique(codes * (values.max() + 1) + values, return_inverse=True)
    bounds = np.cumsum([table.num_rows for table in tables])[:-1]
    return np.split(codes.astype(np.int64), bounds)


def refuse_doubled_keys(table: pa.Table, key: Sequence[str], *, subject: str) -> None:
    """Refuse rows of which two have the same key.

    Raises
    ------
    UnusableInputError
        Naming the key and both rows.
    """
    (codes,) = row_codes([table], key)
    order = np.argsort(codes, kind="stable")
    twins = np.flatnonzero(np.diff(codes[order]) == 0)
    if twins.size:
        first, second = (int(row) for row in order[twins[0] : twins[0] + 2])
        told = ", ".join(f"{name}={table.column(name)[first].as_py()!r}" for name in key)
        raise UnusableInputError(
            f"rows {first} and {second} have the same key {told}",
            subject=subject,
            remedy="give each key once; decide which row holds before storing",
        )


def same_content(left: pa.Table, right: pa.Table) -> NDArray[np.bool_]:
    """Say which rows of two tables of one schema hold the same, row by row.

    NaN is the same as NaN, null as null.
    """
    same = np.ones(left.num_rows, dtype=bool)
    for name in left.schema.names:
        same &= same_column(left.column(name), right.column(name))
    return same


def same_column(left: pa.ChunkedArray, right: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Say where two columns of one type and length hold the same; see `same_content`."""
    return _same_values(_whole(left), _whole(right))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _same_values(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    left_null = left.is_null().to_numpy(zero_copy_only=False)
    right_null = right.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_list(left.type):
        same = _same_lists(left, right)
    elif pa.types.is_struct(left.type):
        pairs = zip(left.flatten(), right.flatten(), strict=True)
        same = np.logical_and.reduce([_same_values(*pair) for pair in pairs])
    else:
        same = pc.fill_null(pc.equal(left, right), False).to_numpy(zero_copy_only=False)
        if pa.types.is_floating(left.type):
            both_nan = pc.fill_null(pc.and_(pc.is_nan(left), pc.is_nan(right)), False)
            same = same | both_nan.to_numpy(zero_copy_only=False)
    same = np.where(left_null | right_null, left_null & right_null, same)
    return same.astype(bool)


def _same_lists(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    lengths = [pc.fill_null(pc.list_value_length(side), 0).to_numpy() for side in (left, right)]
    same: NDArray[np.bool_] = lengths[0] == lengths[1]
    rows = np.flatnonzero(same)
    flat = [pc.list_flatten(side.take(pa.array(rows))) for side in (left, right)]
    owner = np.repeat(rows, lengths[0][rows])
    same[owner[~_same_values(*flat)]] = False
    return same
