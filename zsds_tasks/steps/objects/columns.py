"""From columns of numbers to rows of a table, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.products.tables import load_table, row_schema


def table_of(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """Return rows of a declared table; numbers that are not finite become null where a column may be.

    Parameters
    ----------
    name : str
    columns : mapping of str to numpy.ndarray, pyarrow.Array or list
        More than the table has are left out; arrays (n, k) become lists.
    """
    schema = row_schema(load_table(name))
    return pa.Table.from_arrays([_array(columns[field.name], field) for field in schema], schema=schema)


def _array(values: Any, field: pa.Field) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.cast(field.type).combine_chunks()
    if not isinstance(values, np.ndarray):
        return values if isinstance(values, pa.Array) else pa.array(values, field.type)
    if values.ndim == 2:
        offsets = pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32())
        return pa.ListArray.from_arrays(offsets, _finite(values.ravel(), field.type.value_type)).cast(
            field.type
        )
    return _finite(values, field.type) if field.nullable else pa.array(values, field.type)


def _finite(values: NDArray[Any], type_: pa.DataType) -> pa.Array:
    mask = ~np.isfinite(values) if values.dtype.kind == "f" else None
    return pa.array(values, type_, mask=mask)


def numbers(rows: pa.Table, name: str, kind: type = np.float64) -> NDArray[Any]:
    """Return a column as an array of a type; nulls are NaN."""
    return np.array(rows.column(name).to_numpy(), kind)  # a copy: compiled kernels want to be able to write
