"""The data dictionary: every table and column in Markdown, written from the declarations."""

from __future__ import annotations

from pathlib import Path

from zsds_tasks.products.tables import (
    INDEX_COLUMN,
    ColumnDeclaration,
    TableDeclaration,
    list_tables,
    load_table,
)

_HEAD = """# Data dictionary

Every table of the lakehouse, as `include/schemas/tables/<table>.yaml` declares it. This page is written by
`zsds_tasks.products.dictionary.data_dictionary`; change the declarations, not the page. Types are those of
Arrow; timestamps are microseconds in UTC. A column marked *null* may be missing in a row.
"""


def data_dictionary(include: Path | None = None) -> str:
    """Return the whole dictionary.

    Parameters
    ----------
    include : Path, optional
        The folder ``include``; by default that of the settings.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    DeclarationError
        If a declaration is wrong.
    """
    declarations = [load_table(name, include) for name in list_tables(include)]
    contents = "\n".join(f"- [{d.table}](#{d.table}): {d.description}" for d in declarations)
    return "\n".join([_HEAD, contents, "", *(_describe(d) for d in declarations)])


def _describe(declaration: TableDeclaration) -> str:
    rows = [row for column in declaration.columns for row in _rows(column)]
    return "\n".join(
        [
            f"## {declaration.table}",
            "",
            declaration.description,
            "",
            f"Key: {', '.join(f'`{name}`' for name in declaration.key)}. {_layout(declaration)}",
            "",
            "| column | type | unit | description | permitted | UCD |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _layout(declaration: TableDeclaration) -> str:
    sky = declaration.healpix
    if sky is None:
        return "Not laid out over the sky."
    return (
        f"Laid out over the sky by `{sky.ra}`, `{sky.dec}` (HEALPix, from order {sky.order}; "
        f"at most {sky.max_rows:,} rows in a pixel), sorted by `{INDEX_COLUMN}`."
    )


def _rows(column: ColumnDeclaration) -> list[str]:
    """Return the row of a column and those of the columns nested in it."""
    return [_row(column, column.name), *(_row(i, f"{column.name}.{i.name}") for i in column.columns)]


def _row(column: ColumnDeclaration, name: str) -> str:
    kind = f"{column.type}, *null*" if column.nullable else column.type
    cells = (
        f"`{name}`",
        kind,
        column.unit,
        column.description,
        _permitted(column),
        f"`{column.ucd}`" if column.ucd else "",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _permitted(column: ColumnDeclaration) -> str:
    if column.values is not None:
        return ", ".join(str(value) for value in column.values)
    if column.pattern is not None:
        return f"`{column.pattern}`"
    if column.range is not None:
        low, high = ("" if bound is None else f"{bound:.10g}" for bound in column.range)
        if not high:
            return f"at least {low}"
        return f"{low} to {high}" if low else f"at most {high}"
    return ""
