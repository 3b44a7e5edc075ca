"""Look at tables and keep them tidy: ``zsds table ...`` and ``zsds dictionary``."""

from __future__ import annotations

from typing import Annotated

import typer

from zsds_tasks.cli.console import console, say, show_facts, show_rows

TableName = Annotated[str, typer.Argument(help="A table of include/schemas/tables, e.g. raw_exposures.")]
Version = Annotated[int | None, typer.Option(help="Delta version; default the latest.")]

table = typer.Typer(
    help="Look at tables: rows, history, versions; compact and vacuum them.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(table, name="table")
    app.command()(dictionary)


@table.command("list")
def list_all() -> None:
    """Name every declared table with its rows and version."""
    from zsds_tasks.lakehouse import open_lakehouse

    rows = [(t.name, t.count() if t.exists() else "-", t.version(), t.uri) for t in open_lakehouse().tables()]
    show_rows("tables", ("table", "rows", "version", "where"), rows)


@table.command()
def show(
    name: TableName,
    columns: Annotated[str, typer.Option(help="Comma-separated columns; default all.")] = "",
    where: Annotated[list[str] | None, typer.Option(help="column=value; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = 20,
    version: Version = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Plain CSV on standard output.")] = False,
) -> None:
    """Print rows."""
    import pyarrow.csv

    from zsds_tasks.cli.conditions import parse_conditions
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.products.tables import row_schema

    source = open_lakehouse().table(name)
    wanted = [c.strip() for c in columns.split(",")] if columns else None
    found = source.read(
        columns=wanted, where=parse_conditions(where or [], row_schema(source.declaration)), version=version
    )
    rows = found.slice(0, limit)
    if as_csv:
        pyarrow.csv.write_csv(rows, console.file.buffer if hasattr(console.file, "buffer") else console.file)
        return
    if wanted is None and rows.num_columns > 12:
        for number, row in enumerate(rows.to_pylist()):
            show_facts(f"row {number}", row)
    else:
        show_rows(name, rows.column_names, [list(row.values()) for row in rows.to_pylist()])
    say(f"{rows.num_rows} of {found.num_rows} rows")


@table.command()
def history(name: TableName) -> None:
    """Print the versions of a table: when each was committed and by which operation."""
    from zsds_tasks.lakehouse import open_lakehouse

    entries = open_lakehouse().table(name).history()
    if not entries:
        say(f"{name} has no commits yet")
        return
    columns = list(entries[0])
    show_rows(f"history of {name}", columns, [[entry.get(c) for c in columns] for entry in entries])


@table.command()
def versions(name: TableName) -> None:
    """Print how many rows each version still readable holds."""
    from zsds_tasks.errors import ZsdsError
    from zsds_tasks.lakehouse import open_lakehouse

    source = open_lakehouse().table(name)
    rows: list[tuple[object, object]] = []
    for entry in source.history():
        try:
            rows.append((entry["version"], source.count(version=entry["version"])))
        except ZsdsError as error:  # vacuumed away: say so and go on with the others
            rows.append((entry["version"], error.reason))
    show_rows(f"versions of {name}", ("version", "rows"), rows)


@table.command()
def compact(name: TableName) -> None:
    """Rewrite small files into sorted larger ones."""
    from zsds_tasks.lakehouse import open_lakehouse

    say(f"{name}: {open_lakehouse().table(name).compact()}")


@table.command()
def vacuum(
    name: TableName,
    retention_hours: Annotated[
        float, typer.Option(min=0, help="Keep files of versions younger than this.")
    ] = 168,
) -> None:
    """Delete files that no version within the retention needs; time travel ends there."""
    from zsds_tasks.lakehouse import open_lakehouse

    say(f"{name}: {open_lakehouse().table(name).vacuum(retention_hours)}")


def dictionary() -> None:
    """Print the data dictionary as Markdown."""
    from zsds_tasks.products.dictionary import data_dictionary
    from zsds_tasks.settings import load_settings

    typer.echo(data_dictionary(load_settings().include), nl=False)
