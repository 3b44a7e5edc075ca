"""``column=value`` words of the command line as typed conditions on a table."""

from __future__ import annotations

import pyarrow as pa

from zsds_tasks.errors import ConfigurationError


def parse_conditions(words: list[str], schema: pa.Schema) -> dict[str, object]:
    """Return a `where` for `Table.read`, each value cast to its column's type.

    Parameters
    ----------
    words : list of str
        ``column=value``.
    schema : pyarrow.Schema
        The table's columns.

    Raises
    ------
    ConfigurationError
        If a word has no ``=``, names no column, or its value is not of the column's type.
    """
    conditions: dict[str, object] = {}
    for word in words:
        column, separator, value = word.partition("=")
        if not separator or column not in schema.names:
            raise ConfigurationError(
                "not column=value with a column of this table",
                subject=repr(word),
                remedy=f"columns: {', '.join(schema.names)}",
            )
        kind = schema.field(column).type
        try:
            conditions[column] = pa.array([value]).cast(kind)[0].as_py()
        except pa.ArrowInvalid as error:
            raise ConfigurationError(f"not a value of type {kind}", subject=repr(word)) from error
    return conditions
