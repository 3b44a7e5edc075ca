"""What changed rows differ in: counted column by column, and some of them shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.lakehouse.difference_rows import RowDifferences
from zsds_tasks.lakehouse.identity import same_column


@dataclass(frozen=True)
class ColumnDifference:
    """A column in which changed rows differ."""

    name: str
    """Columns inside a nested one as ``nested.inner``."""
    changed: int
    """Rows."""
    largest: float | None
    """Largest absolute change, in the unit of the column; None for what is no number.
    Of lists element by element where the lengths agree."""


@dataclass(frozen=True)
class Example:
    """One differing row."""

    kind: str
    """``added``, ``removed`` or ``changed``."""
    key: Mapping[str, Any]
    values: Mapping[str, tuple[Any, Any]]
    """Of a changed row, the columns that differ: before and after."""


class ColumnTally:
    """Counts of changed rows by column; columns inside a nested one count for themselves too."""

    def __init__(self) -> None:
        self._changed: dict[str, int] = defaultdict(int)
        self._largest: dict[str, float] = {}

    def add(self, rows: RowDifferences) -> None:
        """Count the rows of a region."""
        for name, differs in rows.differs.items():
            if differs.any():
                mask = pa.array(differs)
                self._count(name, *(side.column(name).filter(mask) for side in (rows.before, rows.after)))

    def found(self) -> tuple[ColumnDifference, ...]:
        """Return the columns that differ, the most rows first."""
        ordered = sorted(self._changed.items(), key=lambda item: (-item[1], item[0]))
        return tuple(ColumnDifference(name, count, self._largest.get(name)) for name, count in ordered)

    def _count(self, name: str, old: pa.ChunkedArray, new: pa.ChunkedArray) -> None:
        self._changed[name] += len(new)
        if pa.types.is_struct(new.type) and pa.types.is_struct(old.type):
            for inner in new.type:
                if old.type.get_field_index(inner.name) < 0:
                    continue
                parts = [pc.struct_field(side, inner.name) for side in (old, new)]
                if parts[0].type == parts[1].type:
                    differs = pa.array(~same_column(*parts))
                    if pc.any(differs).as_py():
                        self._count(f"{name}.{inner.name}", *(part.filter(differs) for part in parts))
            return
        largest = _largest_change(old, new)
        if largest is not None:
            self._largest[name] = max(largest, self._largest.get(name, 0.0))


class ExampleKeeper:
    """Keeps the first rows of each kind.

    Parameters
    ----------
    key : sequence of str
    limit : int
        Of each kind.
    """

    def __init__(self, key: Sequence[str], limit: int) -> None:
        self._key = list(key)
        self._limit = limit
        self.rows: list[Example] = []

    def add(self, rows: RowDifferences) -> None:
        """Look at the rows of a region."""
        for kind, table in (("added", rows.added), ("removed", rows.removed)):
            for key in table.select(self._key).slice(0, self._left(kind)).to_pylist():
                self.rows.append(Example(kind, key, {}))
        count = self._left("changed")
        pairs = zip(
            rows.before.slice(0, count).to_pylist(), rows.after.slice(0, count).to_pylist(), strict=True
        )
        for number, (old, new) in enumerate(pairs):
            values = {
                name: (old[name], new[name]) for name, differs in rows.differs.items() if differs[number]
            }
            self.rows.append(Example("changed", {name: new[name] for name in self._key}, values))

    def _left(self, kind: str) -> int:
        return self._limit - sum(row.kind == kind for row in self.rows)


def _largest_change(old: pa.ChunkedArray, new: pa.ChunkedArray) -> float | None:
    """Return the largest absolute change of numbers; None if there is none that can be told."""
    if pa.types.is_list(old.type) and pa.types.is_list(new.type):
        even = pc.fill_null(pc.equal(pc.list_value_length(old), pc.list_value_length(new)), False)
        old, new = (pc.list_flatten(side.filter(even)) for side in (old, new))
    if not all(pa.types.is_integer(side.type) or pa.types.is_floating(side.type) for side in (old, new)):
        return None
    change = np.abs(_floats(new) - _floats(old))
    change = change[np.isfinite(change)]
    return float(change.max()) if change.size else None


def _floats(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan).to_numpy()
