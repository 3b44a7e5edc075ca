"""Rows of a table as Avro binary, column by column: an exposure needs tens of thousands.

The bytes are those of `RecordWriter`, the oracle in the tests. Each field fills a block of bytes as wide as
its longest value; a row is what it keeps of each block, joined.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import PacketField, RecordType
from zsds_tasks.science.alerts.writer import CODES, LIMITS, NULL, VALUE, field_writer

ROWS_AT_ONCE: Final = 2048
"""Keeps the blocks within a megabyte or two."""
LAST_OF_BYTE: Final = 0x7F
MORE: Final = 0x80

Block = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Bytes (n, width) and how many of them each row keeps (n)."""


def encode_rows(table: pa.Table, record: RecordType) -> list[bytes]:
    """Return the rows of a table as Avro binary.

    Parameters
    ----------
    table : pyarrow.Table (n)
        Columns bear the published names; those it lacks are null, others are left alone.
    record : RecordType
        Of primitives.

    Returns
    -------
    list of bytes (n)

    Raises
    ------
    UnusableInputError
        If a value is null without leave, of another type, or out of range; names record and field.
    """
    rows: list[bytes] = []
    for start in range(0, table.num_rows, ROWS_AT_ONCE):
        rows += _encode(table.slice(start, ROWS_AT_ONCE), record)
    return rows


def _encode(table: pa.Table, record: RecordType) -> list[bytes]:
    there = set(table.column_names)
    blocks = []
    for field in record.fields:
        column = table.column(field.name).combine_chunks() if field.name in there else None
        blocks.append(_block(column, table.num_rows, field, f"{record.name}.{field.name}"))
    kept = [np.arange(block.shape[1]) < lengths[:, None] for block, lengths in blocks]
    text = np.hstack([block for block, _ in blocks])[np.hstack(kept)].tobytes()
    ends = np.cumsum(np.sum([lengths for _, lengths in blocks], axis=0)).tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _block(column: pa.Array | None, count: int, field: PacketField, subject: str) -> Block:
    """Return a field of all rows: the branch of its union, if it is one, and its value."""
    nulls = count if column is None else column.null_count
    if nulls and not field.is_nullable:
        raise UnusableInputError("may not be null", subject=subject)
    if column is None or nulls == count:
        return np.full((count, 1), NULL[0], np.uint8), np.ones(count, np.int64)
    values, lengths = _values(column, field, subject)
    if not field.is_nullable:
        return values, lengths
    branch = np.full((count, 1), VALUE[0], np.uint8)
    lengths = lengths + 1
    if nulls:
        is_null = column.is_null().to_numpy(zero_copy_only=False)
        branch[is_null], lengths[is_null] = NULL[0], 1
    return np.hstack((branch, values)), lengths


def _values(column: pa.Array, field: PacketField, subject: str) -> Block:
    kind, type_ = field.kind, column.type
    is_integer = pa.types.is_integer(type_) and type_ != pa.uint64()
    if kind in LIMITS and is_integer:
        return _integers(_numbers(column).astype(np.int64), field, subject)
    if kind in CODES and (is_integer or type_ in (pa.float32(), pa.float64())):
        return _reals(_numbers(column), field, subject)
    return _words(column, field, subject)


def _numbers(column: pa.Array) -> NDArray[Any]:
    filled = column.fill_null(0) if column.null_count else column
    numbers: NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return numbers


def _integers(values: NDArray[np.int64], field: PacketField, subject: str) -> Block:
    """Return integers as zigzag, seven bits a byte, the lowest first."""
    limit = LIMITS[field.kind]
    _refuse((values < -limit) | (values > limit - 1), values, field, subject)
    rest = ((values << 1) ^ (values >> 63)).view(np.uint64)
    parts, lengths = [], np.ones(len(rest), np.int64)
    while True:
        goes_on = rest > LAST_OF_BYTE
        parts.append(((rest & LAST_OF_BYTE) | goes_on * np.uint64(MORE)).astype(np.uint8))
        if not goes_on.any():
            return np.stack(parts, axis=1), lengths
        lengths += goes_on
        rest = rest >> np.uint64(7)


def _reals(values: NDArray[Any], field: PacketField, subject: str) -> Block:
    """Return floats or doubles; what is finite must stay so."""
    code = "<" + CODES[field.kind]
    with np.errstate(over="ignore"):
        packed = np.ascontiguousarray(values).astype(code)
    if field.kind == "float" and values.dtype != np.float32:
        _refuse(np.isinf(packed) & np.isfinite(values), values, field, subject)
    width = packed.itemsize
    return packed.view(np.uint8).reshape(-1, width), np.full(len(values), width)


def _words(column: pa.Array, field: PacketField, subject: str) -> Block:
    """Return anything, by its writer: each value once, names and versions come again and again."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    write, words = field_writer(field), [b""]
    for value in encoded.dictionary.to_pylist():
        try:
            words.append(write(value))
        except (TypeError, ValueError, OverflowError, AttributeError, struct.error) as error:
            reason = f"{value!r:.60} is no {field.kind}: {error}"
            raise UnusableInputError(reason, subject=subject) from error
    index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    width = max(map(len, words))
    packed = np.array(words, f"S{width}").view(np.uint8).reshape(-1, width)
    return packed[index], np.array([len(word) for word in words])[index]


def _refuse(is_bad: NDArray[np.bool_], values: NDArray[Any], field: PacketField, subject: str) -> None:
    if is_bad.any():
        value = values[is_bad][0].item()
        raise UnusableInputError(f"{value!r:.60} is no {field.kind}: too large", subject=subject)
