"""Conditions on rows as data, never as text: column -> scalar | list (one of) | tuple (half-open range)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError

Where = Mapping[str, Any]
"""For example ``{"fid": 2, "rcid": [3, 4], "obsjd": (2458000.5, 2458001.5)}``; all must hold."""


@dataclass(frozen=True)
class Condition:
    """One column's condition, its values already of the column's type."""

    column: str
    kind: str
    """``equal``, ``one_of``, ``range`` (half-open), ``between`` (closed) or ``null``."""
    values: tuple[pa.Scalar, ...]
    """For a range: low and high, null where open."""

    def expression(self) -> pc.Expression:
        """Return the condition for pyarrow's readers."""
        field = pc.field(self.column)
        if self.kind == "null":
            return field.is_null()
        if self.kind == "equal":
            return field == self.values[0]
        if self.kind == "one_of":
            return field.isin(list(self.values)) if self.values else pc.scalar(False)
        low, high = self.values
        if self.kind == "between":
            return (field >= low) & (field <= high)
        expression = field.is_valid()
        if low.is_valid:
            expression &= field >= low
        if high.is_valid:
            expression &= field < high
        return expression

    def may_match(self, smallest: pa.ChunkedArray, largest: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Say which files may hold a matching row, by their smallest and largest values (null: unknown)."""
        if self.kind == "null" or (self.kind == "one_of" and not self.values):
            return np.full(len(smallest), self.kind == "null")
        low, high = self._bounds()
        possible = np.ones(len(smallest), dtype=bool)
        if low is not None:
            possible &= _true_or_unknown(pc.greater_equal(largest, low))
        if high is not None:
            compare = pc.less if self.kind == "range" else pc.less_equal
            possible &= _true_or_unknown(compare(smallest, high))
        return possible

    def _bounds(self) -> tuple[pa.Scalar | None, pa.Scalar | None]:
        if self.kind == "range":
            low, high = (value if value.is_valid else None for value in self.values)
            return low, high
        extremes = pc.min_max(pa.array([value.as_py() for value in self.values], self.values[0].type))
        return extremes["min"], extremes["max"]


def _true_or_unknown(answer: pa.ChunkedArray) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = pc.fill_null(answer, True).to_numpy()
    return known


def conditions_of(where: Where | None, schema: pa.Schema, *, subject: str) -> tuple[Condition, ...]:
    """Check conditions against a schema and give their values its types.

    Parameters
    ----------
    where : mapping, optional
        See `Where`; a range is half-open, None leaves a side open.
    schema : pyarrow.Schema
        The columns there are.
    subject : str
        The table named in errors.

    Returns
    -------
    tuple of Condition

    Raises
    ------
    UnusableInputError
        If a column is unknown or a value does not fit its type.
    """
    return tuple(_condition(name, wanted, schema, subject) for name, wanted in (where or {}).items())


def _condition(name: str, wanted: Any, schema: pa.Schema, subject: str) -> Condition:
    if name not in schema.names:
        raise UnusableInputError(
            f"there is no column {name!r} to select by",
            subject=subject,
            remedy=f"columns are {', '.join(schema.names)}",
        )
    type_ = schema.field(name).type
    if wanted is None:
        return Condition(name, "null", ())
    if isinstance(wanted, tuple):
        if len(wanted) != 2:
            raise UnusableInputError(
                f"a range of {name} has {len(wanted)} ends", subject=subject, remedy="give (low, high)"
            )
        return Condition(name, "range", tuple(_scalar(value, name, type_, subject) for value in wanted))
    if isinstance(wanted, list | set | frozenset | np.ndarray | pa.Array | pa.ChunkedArray):
        listed = wanted.to_pylist() if isinstance(wanted, pa.Array | pa.ChunkedArray) else list(wanted)
        return Condition(name, "one_of", tuple(_scalar(value, name, type_, subject) for value in listed))
    return Condition(name, "equal", (_scalar(wanted, name, type_, subject),))


def _scalar(value: Any, name: str, type_: pa.DataType, subject: str) -> pa.Scalar:
    try:
        return pa.scalar(value, type=type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UnusableInputError(
            f"{value!r:.80} cannot be compared with column {name} of type {type_}",
            subject=subject,
            remedy="give a value of the column's type",
        ) from error


def expression_of(conditions: tuple[Condition, ...]) -> pc.Expression | None:
    """Return all conditions as one expression; None when there are none."""
    whole: pc.Expression | None = None
    for condition in conditions:
        whole = condition.expression() if whole is None else whole & condition.expression()
    return whole


def mask_of(conditions: tuple[Condition, ...], table: pa.Table) -> NDArray[np.bool_]:
    """Say which rows of a table in memory meet all conditions."""
    mask = np.ones(table.num_rows, dtype=bool)
    for condition in conditions:
        mask &= _column_mask(condition, table.column(condition.column))
    return mask


def _column_mask(condition: Condition, column: pa.ChunkedArray) -> NDArray[np.bool_]:
    if condition.kind == "null":
        answer = column.is_null()
    elif condition.kind == "one_of":
        answer = pc.is_in(column, pa.array([value.as_py() for value in condition.values], column.type))
    elif condition.kind == "equal":
        answer = pc.equal(column, condition.values[0])
    elif condition.kind == "between":
        low, high = condition.values
        answer = pc.and_kleene(pc.greater_equal(column, low), pc.less_equal(column, high))
    else:
        low, high = condition.values
        answer = column.is_valid()
        if low.is_valid:
            answer = pc.and_kleene(answer, pc.greater_equal(column, low))
        if high.is_valid:
            answer = pc.and_kleene(answer, pc.less(column, high))
    met: NDArray[np.bool_] = pc.fill_null(answer, False).to_numpy()
    return met
