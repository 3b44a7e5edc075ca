"""Cast rows to an Arrow schema without losing anything, or say which table, column and row is in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.errors import UnusableInputError

_REMEDY = "make the rows fit the table's declaration, or mend the declaration"


def conform_columns(
    rows: pa.Table | pa.RecordBatch | Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    *,
    subject: str,
    ignored: AbstractSet[str] = frozenset(),
) -> pa.Table:
    """Order, cast and check columns.

    Parameters
    ----------
    rows : pyarrow.Table, pyarrow.RecordBatch or sequence of mappings
    schema : pyarrow.Schema
        What is wanted.
    subject : str
        The table named in errors.
    ignored : set of str
        Columns dropped without a word.

    Returns
    -------
    pyarrow.Table
        With exactly `schema`.

    Raises
    ------
    UnusableInputError
        On the first column that does not fit.
    """
    if isinstance(rows, Sequence):
        # No rows say nothing about columns; a table without rows does.
        if rows:
            _check_names(_names(rows, subject), schema, subject, ignored)
        arrays = [_build(rows, field, subject) for field in schema]
    else:
        _check_names(rows.schema.names, schema, subject, ignored)
        arrays = [_cast(rows.column(field.name), field, subject) for field in schema]
    for array, field in zip(arrays, schema, strict=True):
        _check_nulls(array, field, subject)
        if pa.types.is_struct(field.type):
            _check_lengths(array, field, subject)
    return pa.Table.from_arrays(arrays, schema=schema)


def _names(rows: Sequence[Mapping[str, Any]], subject: str) -> list[str]:
    names: dict[str, None] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UnusableInputError(
                f"row {index} is a {type(row).__name__}, not a mapping", subject=subject, remedy=_REMEDY
            )
        names.update(dict.fromkeys(row))
    return list(names)


def _check_names(present: list[str], schema: pa.Schema, subject: str, ignored: AbstractSet[str]) -> None:
    missing = [name for name in schema.names if name not in present]
    unknown = [name for name in present if name not in schema.names and name not in ignored]
    twice = sorted({name for name in present if present.count(name) > 1})
    for fact, names in (("missing", missing), ("unknown", unknown), ("doubled", twice)):
        if names:
            plural = "s" if len(names) > 1 else ""
            raise UnusableInputError(
                f"{fact} column{plural} {', '.join(names)}", subject=subject, remedy=_REMEDY
            )


def _build(rows: Sequence[Mapping[str, Any]], field: pa.Field, subject: str) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if not _of_kind(values, field.type):
        for index, value in enumerate(values):
            if not _of_kind([value], field.type):
                raise _misfit(field, subject, index, value)
    try:
        return pa.array(values, type=field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        for index, value in enumerate(values):
            try:
                pa.array([value], type=field.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                raise _misfit(field, subject, index, value) from error
        raise _misfit(field, subject, 0, values[0] if values else None) from error


def _of_kind(values: list[Any], wanted: pa.DataType) -> bool:
    """Whether none of the values is of a kind Arrow would silently reinterpret, as a number for a time."""
    kinds = {type(value) for value in values}
    if pa.types.is_integer(wanted) and any(issubclass(kind, float | np.floating) for kind in kinds):
        # pyarrow cuts the fraction off small integers, and only off those, without a word.
        return all(float(v).is_integer() for v in values if isinstance(v, float | np.floating))
    if pa.types.is_integer(wanted) or pa.types.is_floating(wanted):
        return not any(kind.__name__ in {"bool", "bool_"} for kind in kinds)
    if pa.types.is_timestamp(wanted):
        return not any(issubclass(kind, int | float) for kind in kinds)
    if pa.types.is_binary(wanted):
        return str not in kinds
    if pa.types.is_string(wanted):
        return bytes not in kinds
    return True


def _cast(column: pa.ChunkedArray | pa.Array, field: pa.Field, subject: str) -> pa.ChunkedArray:
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type == field.type:
        return column
    if not _same_kind(column.type, field.type):
        raise UnusableInputError(
            f"column {field.name} has type {column.type}, which is no {field.type}",
            subject=subject,
            remedy=_REMEDY,
        )
    try:
        cast = column.cast(field.type, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _first_misfit(column, field, subject) from error
    if pa.types.is_floating(field.type) and pa.types.is_floating(column.type):
        _check_overflow(column, cast, field, subject)
    return cast


def _same_kind(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_null(have):
        return True
    if pa.types.is_struct(want):
        return pa.types.is_struct(have) and {f.name for f in have} == {f.name for f in want}
    have_kind, want_kind = _kind(have), _kind(want)
    if want_kind == "list":
        return have_kind == "list" and _same_kind(have.value_type, want.value_type)
    return have_kind == want_kind


def _kind(type_: pa.DataType) -> str:
    """Name the family within which a cast keeps the meaning."""
    types = pa.types
    families = {
        "list": (
            types.is_list,
            types.is_large_list,
            types.is_fixed_size_list,
            types.is_list_view,
            types.is_large_list_view,
        ),
        "number": (types.is_integer, types.is_floating),
        "string": (types.is_string, types.is_large_string, types.is_string_view),
        "binary": (
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
            types.is_binary_view,
        ),
        "timestamp": (types.is_timestamp,),
    }
    for family, tests in families.items():
        if any(test(type_) for test in tests):
            return family
    return str(type_)


def _check_overflow(column: pa.ChunkedArray, cast: pa.ChunkedArray, field: pa.Field, subject: str) -> None:
    """Refuse finite numbers that became infinite: Arrow's safe cast between floats lets them pass."""
    lost = pc.and_(pc.is_finite(column), pc.invert(pc.is_finite(cast)))
    if pc.any(lost).as_py():
        row = pc.index(lost, value=True).as_py()
        raise _misfit(field, subject, row, column[row].as_py())


def _first_misfit(column: pa.ChunkedArray, field: pa.Field, subject: str) -> UnusableInputError:
    """Find the first row that does not survive the cast, by halving."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(field.type, safe=True)
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return _misfit(field, subject, low, column[low].as_py())


def _misfit(field: pa.Field, subject: str, row: int, value: Any) -> UnusableInputError:
    return UnusableInputError(
        f"column {field.name}, row {row}: {value!r:.80} does not fit {field.type}",
        subject=subject,
        remedy=_REMEDY,
        column=field.name,
        row=row,
    )


def _check_nulls(column: pa.Array | pa.ChunkedArray, field: pa.Field, subject: str) -> None:
    if field.nullable or column.null_count == 0:
        return
    row = pc.index(column.is_null(), value=True).as_py()
    raise UnusableInputError(
        f"column {field.name}, row {row}: null, but the column is not nullable",
        subject=subject,
        remedy=_REMEDY,
        column=field.name,
        row=row,
    )


def _check_lengths(column: pa.Array | pa.ChunkedArray, field: pa.Field, subject: str) -> None:
    """Refuse a nested cell whose lists are not of one length, or hold nulls."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    parts = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    offset = 0
    for part in parts:
        lengths = [pc.fill_null(pc.list_value_length(lists), -1).to_numpy() for lists in part.flatten()]
        holes = [pc.list_flatten(lists).null_count for lists in part.flatten()]
        differ = np.any([length != lengths[0] for length in lengths], axis=0)
        uneven = np.flatnonzero(differ | (lengths[0] < 0))
        if uneven.size or any(holes):
            row = offset + int(uneven[0]) if uneven.size else offset
            fact = "lists of different lengths" if uneven.size else "a null inside a list"
            raise UnusableInputError(
                f"column {field.name}, row {row}: {fact}",
                subject=subject,
                remedy=_REMEDY,
                column=field.name,
                row=row,
            )
        offset += len(part)
