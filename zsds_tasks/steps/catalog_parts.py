"""The catalogues divided into parts that fit into memory, for their check: some units each.

A unit is a field, a filter and a readout channel. Rows of a unit rest on rows of the same unit alone: within
it every identifier can be looked up, wherever on the sky a row lies by mistake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_ranges
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.sky.healpix import Integers
from zsds_tasks.steps import images

KEY = ("field", "fid", "rcid")
OF_CURVES = ("fieldid", "filterid", "rcid")
"""The same in tables that have the columns of ZTF's release."""
IMAGES, USABLE_IMAGES = images.IMAGES, "usable_images"


class Part(Protocol):
    """Some rows of each table that belong together."""

    def read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Return columns of the part's rows of a table, or of rows made for the suites' lookups."""


@dataclass(frozen=True)
class Catalogs:
    """The tables at the versions that are checked.

    Parameters
    ----------
    lakehouse : Lakehouse
    versions : mapping of str to int or None
        None where nothing was ever written.
    due : mapping of str to pyarrow.Table
        What is to be made anew: rows that are allowed to be behind.
    """

    lakehouse: Lakehouse
    versions: Mapping[str, int | None]
    due: Mapping[str, pa.Table]

    def read(self, name: str, columns: Sequence[str], where: Mapping[str, Any]) -> pa.Table:
        """Return columns of the rows of a table that meet conditions."""
        table = self.lakehouse.table(name)
        version = self.versions[name]
        return table.read(columns, where) if version is None else table.read(columns, where, version=version)

    def near(self, name: str, columns: Sequence[str], ranges: Integers) -> pa.Table:
        """Return columns of the rows of a table in ranges (R, 2) of the spatial index."""
        return read_ranges(self.lakehouse.table(name), ranges, columns, version=self.versions[name])

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of all rows of a table, a few rows at a time."""
        version = self.versions[name]
        if version is not None:
            dataset = self.lakehouse.table(name).dataset(version=version)
            for batch in dataset.to_batches(columns=list(columns)):
                yield pa.table(batch)

    def tally(self, name: str, by: Sequence[str]) -> Counter[tuple[int, ...]]:
        """Count the rows of a table by the values of some columns."""
        found: Counter[tuple[int, ...]] = Counter()
        for batch in self.batches(name, by):
            groups = batch.group_by(list(by)).aggregate([([], "count_all")])
            columns = [groups.column(column).to_pylist() for column in (*by, "count_all")]
            for *values, rows in zip(*columns, strict=True):
                found[tuple(values)] += rows
        return found


@dataclass(frozen=True)
class UnitPart:
    """Some units.

    Parameters
    ----------
    catalogs : Catalogs
    where : mapping
        Condition that selects their rows, by the names of `KEY`.
    """

    catalogs: Catalogs
    where: Mapping[str, Any]

    def read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Return columns of the units' rows of a table, or of one made for lookups."""
        if name in self.catalogs.due:
            return self.catalogs.due[name].select(list(columns))
        if name == USABLE_IMAGES:
            return self.catalogs.read(IMAGES, columns, {**self.where, "status": 1})
        table = self.catalogs.lakehouse.table(name)
        names = dict(zip(KEY, key_of(table), strict=True))
        return self.catalogs.read(name, columns, {names[key]: value for key, value in self.where.items()})


def key_of(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that say which unit a row is of."""
    return KEY if KEY[0] in table.declaration.names else OF_CURVES


def parts_of_units(
    catalogs: Catalogs, names: Sequence[str], rows_at_once: int, fields: Sequence[int] | None = None
) -> list[UnitPart]:
    """Divide the units of tables into parts.

    Parameters
    ----------
    catalogs : Catalogs
    names : sequence of str
        Tables; a unit that any of them has rows of is in a part.
    rows_at_once : int
        No part has more rows in any of the tables, but for a unit that has more by itself.
    fields : sequence of int, optional
        Only these.

    Returns
    -------
    list of UnitPart
    """
    rows: dict[tuple[int, ...], int] = {}
    for name in names:
        for unit, count in catalogs.tally(name, key_of(catalogs.lakehouse.table(name))).items():
            if fields is None or unit[0] in fields:
                rows[unit] = max(rows.get(unit, 0), count)
    return [UnitPart(catalogs, where) for where in packed(rows, rows_at_once)]


def packed(
    rows: Mapping[tuple[int, ...], int], most: int, fixed: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield conditions that select units some at a time: fields, filters of a field, channels of a filter.

    Parameters
    ----------
    rows : mapping
        Of each unit.
    most : int
        Together in a condition; a unit that has more is alone.
    fixed : mapping, optional
        What is selected already.
    """
    fixed = dict(fixed or {})
    name, last = KEY[len(fixed)], len(fixed) == len(KEY) - 1
    totals: Counter[int] = Counter()
    for unit, count in rows.items():
        totals[unit[len(fixed)]] += count
    values: list[int] = []
    for value in sorted(totals):
        apart = totals[value] > most and not last
        if values and (apart or sum(totals[v] for v in values) + totals[value] > most):
            yield fixed | {name: values}
            values = []
        if apart:
            within = {unit: count for unit, count in rows.items() if unit[len(fixed)] == value}
            yield from packed(within, most, fixed | {name: value})
        else:
            values.append(value)
    if values:
        yield fixed | {name: values}
