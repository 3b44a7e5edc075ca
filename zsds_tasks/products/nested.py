"""Nested columns as flat arrays: a table inside each row becomes rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def lists_of(rows: pa.Table, column: str, name: str) -> pa.ListArray:
    """Return one column inside a nested one: a list for each row (N)."""
    chunks = [chunk.field(name) for chunk in rows.column(column).chunks]
    kind = rows.schema.field(column).type.field(name).type
    return pa.concat_arrays(chunks) if chunks else pa.array([], kind)


def flat_nested(
    rows: pa.Table, column: str, names: Sequence[str]
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Return columns inside a nested one end to end.

    Parameters
    ----------
    rows : pyarrow.Table
        N rows.
    column : str
        The nested one, without nulls.
    names : sequence of str
        Columns inside; at least one.

    Returns
    -------
    offsets : numpy.ndarray (N + 1), int64
        Where the values of each row begin; the last is their number.
    values : dict of numpy.ndarray
        By name. Copies: kernels are compiled for arrays that may be written, and Arrow's may not.
    """
    lists = {name: lists_of(rows, column, name) for name in names}
    lengths = lists[names[0]].value_lengths().to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = {name: np.array(one.flatten().to_numpy(zero_copy_only=False)) for name, one in lists.items()}
    return offsets, flat
