"""Whether a stored table still agrees with its declaration: nullable columns may be gained, no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties
from deltalake import Schema as DeltaSchema

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.lakehouse.delta import overtaken, stored_schema, table_properties, translated_delta

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from zsds_tasks.products.tables import TableDeclaration

_REMEDY = "restore the declaration, or write the table anew under another name"


def reconcile(table: DeltaTable, declaration: TableDeclaration) -> list[pa.Field]:
    """Compare a table with its declaration.

    Parameters
    ----------
    table : DeltaTable
    declaration : TableDeclaration

    Returns
    -------
    list of pyarrow.Field
        Nullable columns that the declaration gained; readers see nulls, `add_columns` stores them.

    Raises
    ------
    ConfigurationError
        If they differ in any other way; names the column.
    """
    subject = table.table_uri
    _compare_properties(table, declaration)
    stored = {field.name: field for field in pa.schema(table.schema().to_arrow())}
    declared = {field.name: field for field in stored_schema(declaration)}
    for name, have in stored.items():
        want = declared.get(name)
        if want is None:
            raise ConfigurationError(
                f"column {name} is not declared any more", subject=subject, remedy=_REMEDY
            )
        if not _same_type(have.type, want.type) or have.nullable != want.nullable:
            raise ConfigurationError(
                f"column {name} is {_told(have)} in the table, {_told(want)} in its declaration",
                subject=subject,
                remedy=_REMEDY,
            )
    gained = [field for name, field in declared.items() if name not in stored]
    for field in gained:
        if not field.nullable:
            raise ConfigurationError(
                f"column {field.name} is new and not nullable: old rows have no value for it",
                subject=subject,
                remedy="declare it nullable, or write the table anew under another name",
            )
    return gained


def add_columns(table: DeltaTable, fields: list[pa.Field]) -> None:
    """Store gained columns, in a commit of its own.

    Raises
    ------
    OvertakenError
        If another writer made the next version first.
    """
    with translated_delta(table.table_uri), overtaken():
        table.alter.add_columns(
            DeltaSchema.from_arrow(pa.schema(fields)).fields,
            commit_properties=CommitProperties(max_commit_retries=0),
        )


def _compare_properties(table: DeltaTable, declaration: TableDeclaration) -> None:
    have = table.metadata().configuration
    for name, wanted in table_properties(declaration).items():
        if have.get(name, wanted) != wanted:
            raise ConfigurationError(
                f"property {name} of the table is {have[name]!r}, of its declaration {wanted!r}",
                subject=table.table_uri,
                remedy=_REMEDY,
            )


def _same_type(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_list(have) and pa.types.is_list(want):
        return bool(have.value_type == want.value_type)
    if pa.types.is_struct(have) and pa.types.is_struct(want):
        names = [[field.name for field in type_] for type_ in (have, want)]
        pairs = zip(have, want, strict=False)
        return names[0] == names[1] and all(_same_type(a.type, b.type) for a, b in pairs)
    return bool(have == want)


def _told(field: pa.Field) -> str:
    return f"{field.type}{'' if field.nullable else ' not null'}"
