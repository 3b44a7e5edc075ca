"""Tables: declared once in ``include/schemas/tables/<table>.yaml``, derived everywhere else.

`load_table` reads a declaration; `arrow_schema` gives the schema as stored, `row_schema` the schema as rows
pass between rooms (without the spatial index, which the lakehouse computes); `conform` makes any table fit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml
from pydantic import ValidationError

from zsds_tasks.declarations import parse_yaml
from zsds_tasks.errors import DeclarationError
from zsds_tasks.products.conforming import conform_columns
from zsds_tasks.products.declarations import (
    INDEX_COLUMN,
    PARTITION_COLUMNS,
    ColumnDeclaration,
    HealpixPartition,
    NoPartition,
    Partition,
    TableDeclaration,
)
from zsds_tasks.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "INDEX_COLUMN",
    "PARTITION_COLUMNS",
    "ColumnDeclaration",
    "HealpixPartition",
    "NoPartition",
    "Partition",
    "TableDeclaration",
    "arrow_schema",
    "arrow_type",
    "conform",
    "empty",
    "list_tables",
    "load_table",
    "parse_table",
    "row_schema",
    "tables_folder",
]

_ARROW_TYPES = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_INDEX_FIELD = pa.field(
    INDEX_COLUMN,
    pa.int64(),
    nullable=False,
    metadata={
        "unit": "",
        "ucd": "pos.healpix",
        "description": "Nested HEALPix number of the position at order 29: the spatial index of HATS.",
    },
)


def tables_folder(include: Path | None = None) -> Path:
    """Return the folder of table declarations.

    Parameters
    ----------
    include : Path, optional
        The folder ``include``; by default that of the settings.

    Returns
    -------
    Path
        ``<include>/schemas/tables``
    """
    return (include or load_settings().include) / "schemas" / "tables"


def list_tables(include: Path | None = None) -> list[str]:
    """Return the names of all declared tables, sorted."""
    return sorted(path.stem for path in tables_folder(include).glob("*.yaml"))


def load_table(name: str, include: Path | None = None) -> TableDeclaration:
    """Read and check the declaration of a table.

    Parameters
    ----------
    name : str
        Table, which is also the name of its file.
    include : Path, optional
        The folder ``include``; by default that of the settings.

    Returns
    -------
    TableDeclaration
        The same object for the same file as long as the file does not change.

    Raises
    ------
    DeclarationError
        If there is no such file or it says something wrong; the message names file, key and reason.
    """
    path = tables_folder(include) / f"{name}.yaml"
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        known = ", ".join(list_tables(include)) or "none"
        raise DeclarationError(
            f"table {name!r} is not declared", subject=str(path), remedy=f"declared tables: {known}"
        ) from error
    return _load_file(path, changed)


@lru_cache(maxsize=128)
def _load_file(path: Path, _changed: int) -> TableDeclaration:
    declaration = parse_table(path.read_text(encoding="utf-8"), subject=str(path))
    if declaration.table != path.stem:
        raise DeclarationError(
            f"table: says {declaration.table!r}, but the file is called {path.name!r}",
            subject=str(path),
            remedy="give the table and its file the same name",
        )
    return declaration


def parse_table(text: str, *, subject: str = "<text>") -> TableDeclaration:
    """Turn the YAML text of one declaration into its model.

    Parameters
    ----------
    text : str
        YAML.
    subject : str
        The file it comes from, named in errors.

    Returns
    -------
    TableDeclaration

    Raises
    ------
    DeclarationError
        If the text is not YAML or says something wrong.
    """
    remedy = "mend the declaration; zsds_tasks/products/declarations.py states the rules"
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise DeclarationError(f"is not YAML: {error}", subject=subject, remedy=remedy) from error
    if not isinstance(content, dict):
        raise DeclarationError("holds no mapping of keys", subject=subject, remedy=remedy)
    try:
        return TableDeclaration.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_describe_fault(fault, content) for fault in error.errors())
        raise DeclarationError(faults, subject=subject, remedy=remedy) from error


def _describe_fault(fault: Any, content: Mapping[str, Any]) -> str:
    """Say where and why, with the column's name beside its position in the list."""
    steps = [str(step) for step in fault["loc"]]
    if len(steps) > 1 and steps[0] == "columns" and steps[1].isdigit():
        column = content["columns"][int(steps[1])]
        if isinstance(column, dict) and "name" in column:
            steps[1] += f"[{column['name']}]"
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{'.'.join(steps)}: {reason}" if steps else str(reason)


def arrow_type(column: ColumnDeclaration) -> pa.DataType:
    """Return the Arrow type of a column: times in microseconds UTC, nested columns as structs of lists."""
    if column.is_nested:
        lists = [pa.list_(pa.field("element", _ARROW_TYPES[inner.type])) for inner in column.columns]
        names = [inner.name for inner in column.columns]
        return pa.struct([pa.field(name, list_) for name, list_ in zip(names, lists, strict=True)])
    element = _ARROW_TYPES[column.element_type]
    return pa.list_(pa.field("element", element, nullable=True)) if column.is_list else element


@lru_cache(maxsize=128)
def row_schema(declaration: TableDeclaration) -> pa.Schema:
    """Return the Arrow schema of the declared columns, as rows pass between rooms.

    Parameters
    ----------
    declaration : TableDeclaration

    Returns
    -------
    pyarrow.Schema
        Fields carry ``unit``, ``ucd`` and ``description`` as metadata.
    """
    fields = [
        pa.field(
            column.name,
            arrow_type(column),
            nullable=column.nullable,
            metadata={"unit": column.unit, "ucd": column.ucd, "description": column.description},
        )
        for column in declaration.columns
    ]
    return pa.schema(fields)


@lru_cache(maxsize=128)
def arrow_schema(declaration: TableDeclaration) -> pa.Schema:
    """Return the Arrow schema as stored, without partition columns.

    Parameters
    ----------
    declaration : TableDeclaration

    Returns
    -------
    pyarrow.Schema
        `row_schema`, preceded by ``_healpix_29`` when the table is laid out over the sky.
    """
    schema = row_schema(declaration)
    return pa.schema([_INDEX_FIELD, *schema]) if declaration.healpix else schema


def conform(
    table: pa.Table | pa.RecordBatch | Sequence[Mapping[str, Any]], declaration: TableDeclaration
) -> pa.Table:
    """Make rows fit a declaration: columns in order, declared types, nothing missing, nothing unknown.

    Parameters
    ----------
    table : pyarrow.Table, pyarrow.RecordBatch or sequence of mappings
        Rows from anywhere: pandas' and polars' string and list variants are normalised; times without a zone
        are taken as UTC. A spatial index among the columns is dropped: the lakehouse computes its own.
    declaration : TableDeclaration

    Returns
    -------
    pyarrow.Table
        With schema `row_schema`.

    Raises
    ------
    UnusableInputError
        If a column is missing or unknown, a value does not survive the cast, or a null stands where none may;
        the message names table, column and row.
    """
    return conform_columns(table, row_schema(declaration), subject=declaration.table, ignored={INDEX_COLUMN})


def empty(declaration: TableDeclaration) -> pa.Table:
    """Return the table without rows, in `row_schema`."""
    return row_schema(declaration).empty_table()
