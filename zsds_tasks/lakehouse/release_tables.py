"""The tables of a release: published at one moment, each with what is to be known of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.errors import NothingToDoError, TransientError
from zsds_tasks.lakehouse import layout
from zsds_tasks.lakehouse.difference_origins import VERSION
from zsds_tasks.lakehouse.difference_states import TableState
from zsds_tasks.lakehouse.encoding import encode
from zsds_tasks.lakehouse.publish import content_digest, publish
from zsds_tasks.lakehouse.releases import ReleasedColumn, ReleasedTable, table_path

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.lakehouse import Lakehouse
    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.lakehouse.tables import Table
    from zsds_tasks.products.tables import ColumnDeclaration

_ATTEMPTS = 4


@dataclass(frozen=True)
class Part:
    """A table as it goes into a release."""

    name: str
    publication: int | None
    table_version: int
    rows: int
    files: int
    content: str
    rows_encoded: pa.Buffer | None
    """Of a table without positions: the Parquet file."""


def gather_parts(
    lakehouse: Lakehouse, names: Sequence[str], now: datetime
) -> tuple[list[Part], dict[str, str]]:
    """Publish tables, all as they are at one moment.

    Parameters
    ----------
    lakehouse : Lakehouse
    names : sequence of str
    now : datetime

    Returns
    -------
    list of Part
        Of the tables that have rows.
    dict
        The others, each with the reason.

    Raises
    ------
    ConfigurationError
        If a table is not declared.
    TransientError
        If writers change the tables faster than they are published.
    """
    tables = [lakehouse.table(name) for name in dict.fromkeys(names)]
    for _ in range(_ATTEMPTS):
        parts, left_out = [], {}
        for table in tables:
            try:
                parts.append(_part(table, now))
            except NothingToDoError:
                left_out[table.name] = "has no rows yet"
        if all(_is_current(table, parts, left_out) for table in tables):
            return parts, left_out
    raise TransientError(
        f"the tables changed {_ATTEMPTS} times while they were published",
        subject=", ".join(table.name for table in tables),
        remedy="make the release when no light curves are being written",
    )


class UncheckedError(TransientError):
    """A table has changed since it was checked; it is released when it has been checked again."""


def require_checked(
    lakehouse: Lakehouse, parts: Sequence[Part], checked: Mapping[str, int | None] | None
) -> None:
    """Refuse tables whose rows are not those of the versions that were checked; others pass.

    Upkeep makes versions of the same rows, but also of other files: tables are compacted before they are
    checked, so that publishing them finds nothing to compact.

    Raises
    ------
    UncheckedError
        Naming the tables.
    """
    known = checked or {}
    changed = [
        part.name
        for part in parts
        if part.name in known and not _is_as_checked(lakehouse.table(part.name), part, known[part.name])
    ]
    if changed:
        raise UncheckedError(
            "has changed since the catalogues were checked",
            subject=", ".join(changed),
            remedy="the checks are run again, then the release is made",
        )


def _is_as_checked(table: Table, part: Part, version: int | None) -> bool:
    if version is None or version == part.table_version:
        return version is not None
    seen, released = table.snapshot(version), table.snapshot(part.table_version)
    return seen is not None and released is not None and content_digest(seen) == content_digest(released)


def _part(table: Table, now: datetime) -> Part:
    if table.declaration.healpix is not None:
        shown = publish(table, now=now)
        return Part(
            table.name, shown.version, shown.table_version, shown.rows, shown.files, shown.content, None
        )
    snapshot = table.snapshot()
    if snapshot is None or snapshot.rows == 0:
        raise NothingToDoError("has no rows to publish", subject=table.name)
    encoded = encode(layout.sorted_rows(snapshot.load(snapshot.files), table.declaration.key))
    content = hashlib.sha256(encoded).hexdigest()
    return Part(table.name, None, snapshot.version, snapshot.rows, 1, content, encoded)


def _is_current(table: Table, parts: Sequence[Part], left_out: dict[str, str]) -> bool:
    """Say whether a table is still what was published."""
    snapshot = table.snapshot()
    if table.name in left_out:
        return snapshot is None or snapshot.rows == 0
    part = next(one for one in parts if one.name == table.name)
    if snapshot is None:
        return False
    return snapshot.version == part.table_version or content_digest(snapshot) == part.content


def table_of(lakehouse: Lakehouse, number: int, part: Part) -> ReleasedTable:
    """Return what a release tells of a table; its files are in place."""
    declaration = lakehouse.table(part.name).declaration
    place = table_path(number, part.name, part.publication)
    size, checksums = _measure(lakehouse.storage, place, part)
    return ReleasedTable(
        name=part.name,
        kind="parquet" if part.publication is None else "hats",
        uri=lakehouse.storage.uri(place),
        publication=part.publication,
        table_version=part.table_version,
        rows=part.rows,
        files=part.files,
        bytes=size,
        content=part.content,
        key=tuple(declaration.key),
        columns=tuple(_columns(declaration.columns)),
        checksums=checksums,
    )


def versions_of(state: TableState) -> dict[str, int]:
    """Count rows by processing version, file by file; nothing for a table without that column."""
    if VERSION not in state.schema.names:
        return {}
    counted: Counter[str] = Counter()
    for file in state.files:
        for one in pc.value_counts(state.read([file], [VERSION])[VERSION]).to_pylist():
            counted[str(one["values"])] += one["counts"]
    return dict(sorted(counted.items()))


def _measure(storage: Storage, place: str, part: Part) -> tuple[int, dict[str, str]]:
    """Return the bytes of the data, and the digests of the small files that say what belongs to it."""
    if part.rows_encoded is not None:
        return part.rows_encoded.size, {f"{part.name}.parquet": part.content}
    size, checksums = 0, {}
    for entry in storage.list(place):
        inside = entry.path.removeprefix(f"{place}/")
        if not inside.endswith(".parquet"):
            checksums[inside] = hashlib.sha256(storage.read_bytes(entry.path)).hexdigest()
        elif inside.startswith(f"{part.name}/"):
            size += entry.size
    return size, dict(sorted(checksums.items()))


def _columns(declared: Sequence[ColumnDeclaration]) -> list[ReleasedColumn]:
    """Return columns in order, those of a nested one after it as ``nested.inner``."""
    found = []
    for column in declared:
        found.append(_column(column, column.name))
        found += [_column(inner, f"{column.name}.{inner.name}") for inner in column.columns]
    return found


def _column(column: ColumnDeclaration, name: str) -> ReleasedColumn:
    return ReleasedColumn(name, column.type, column.unit, column.ucd, column.description, column.nullable)
