"""``zsds query ...``: rows around a position or of an identifier, and the light curve as a picture."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsds_tasks.cli.console import errors, say, show_facts, show_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from zsds_tasks.catalog import Catalog

query = typer.Typer(
    help="Look up a release: rows around a position, rows of an identifier.", no_args_is_help=True
)

Table = Annotated[str, typer.Option(help="Table; default objects, or lightcurves where there are none.")]
Columns = Annotated[str, typer.Option(help="Comma-separated columns; default all.")]
Format = Annotated[
    str, typer.Option(help="table, csv, parquet or votable; default by the ending of --output.")
]
Output = Annotated[Path | None, typer.Option(help="File to write; default standard output.")]
ReleaseName = Annotated[
    str, typer.Option(help="dr1, dr2, ..., live or publications; default the newest release.")
]
Plot = Annotated[
    Path | None, typer.Option(help="Draw the light curves of the (nearest) star into this file.")
]
Fold = Annotated[bool, typer.Option("--fold", help="Fold the picture at the star's period.")]
Period = Annotated[float | None, typer.Option(help="Fold the picture at this period, days.")]
Limit = Annotated[int, typer.Option(min=1, help="Print at most so many rows; files hold all.")]
WITH_NEGATIVE_NUMBERS = {"ignore_unknown_options": True}
"""So that a southern declination is not taken for an option."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(query, name="query")


@query.command(context_settings=WITH_NEGATIVE_NUMBERS)
def cone(
    ra: Annotated[str, typer.Argument(help="Right ascension: degrees, or 12:34:55.2.")],
    dec: Annotated[str, typer.Argument(help="Declination: degrees, or -12:30:00.")],
    radius: Annotated[float, typer.Argument(help="Radius, arcsec.")],
    table: Table = "",
    columns: Columns = "",
    format_: Annotated[str, typer.Option("--format", help="table, csv, parquet or votable.")] = "",
    output: Output = None,
    release: ReleaseName = "",
    plot: Plot = None,
    fold: Fold = False,
    period: Period = None,
    limit: Limit = 20,
) -> None:
    """Print or write the rows of a table around a position, nearest first."""
    from zsds_tasks.catalog import open_catalog
    from zsds_tasks.catalog.positions import parse_position
    from zsds_tasks.catalog.search import cone as search_cone

    check_file(output)
    check_file(plot)
    place = parse_position(ra, dec)
    catalog = open_catalog(release or None)
    name = table or default_table(catalog)
    rows = search_cone(catalog.source(name), place, radius, chosen(columns), with_distance=True)
    where = f"{place[0]:.6f} {place[1]:+.6f} (ICRS, degrees)"
    about = f"{name} of {catalog.release} within {radius:g} arcsec of {where}"
    deliver(rows, name, about, format_, output, limit)
    if plot is not None:
        near = catalog.light_curves_near(*place, radius)
        draw(catalog, near[0].objectid if near else None, plot, fold=fold, period=period)


@query.command("id")
def by_id(
    objectid: Annotated[int, typer.Argument(min=0, help="Identifier.")],
    table: Table = "",
    columns: Columns = "",
    format_: Annotated[str, typer.Option("--format", help="table, csv, parquet or votable.")] = "",
    output: Output = None,
    release: ReleaseName = "",
    plot: Plot = None,
    fold: Fold = False,
    period: Period = None,
    limit: Limit = 20,
) -> None:
    """Print or write the row of an identifier."""
    from zsds_tasks.catalog import open_catalog
    from zsds_tasks.errors import UnusableInputError

    check_file(output)
    check_file(plot)
    catalog = open_catalog(release or None)
    name = table or default_table(catalog)
    rows = catalog.ids(name, [objectid], chosen(columns))
    if rows.num_rows == 0 and not table and name != "lightcurves" and "lightcurves" in catalog.tables:
        wanted = set(chosen(columns) or ())
        if wanted <= set(catalog.source("lightcurves").names):
            name = "lightcurves"
            rows = catalog.ids(name, [objectid], chosen(columns))
    if rows.num_rows == 0:
        raise UnusableInputError(
            "is not there", subject=f"{objectid} in {name} of {catalog.release}",
            remedy="name another table or release, or look for it by position",
        )  # fmt: skip
    deliver(rows, name, f"{name} {objectid} of {catalog.release}", format_, output, limit)
    if plot is not None:
        draw(catalog, objectid, plot, fold=fold, period=period)


def check_file(path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything is looked up."""
    from zsds_tasks.errors import UnusableInputError

    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise UnusableInputError(
            "cannot be written", subject=str(path), remedy="name a file in a folder that exists and is yours"
        )


def default_table(catalog: Catalog) -> str:
    """Return the table that is meant when none is named."""
    return "objects" if "objects" in catalog.tables else "lightcurves"


def chosen(columns: str) -> list[str] | None:
    """Return the columns in a list with commas; None for all."""
    return [word.strip() for word in columns.split(",") if word.strip()] or None


def deliver(rows: pa.Table, name: str, about: str, kind: str, output: Path | None, limit: int) -> None:
    """Print rows, or write them as the format or the ending of the file says."""
    from zsds_tasks.catalog.formats import FORMATS, SUFFIXES, encode_rows
    from zsds_tasks.errors import UnusableInputError
    from zsds_tasks.settings import load_settings

    kind = kind or (SUFFIXES.get(output.suffix.lower(), "") if output else "table")
    if kind == "table" and output is None:
        show(rows, name, limit)
        return
    if kind not in FORMATS:
        raise UnusableInputError(
            "is no format for a file",
            subject=repr(kind or str(output)),
            remedy=f"--format {' | '.join(FORMATS)}",
        )
    content = encode_rows(rows, kind, table=name, include=load_settings().include, about=about)
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    output.write_bytes(content)
    say(f"{rows.num_rows} rows of {about} in {output}")


def show(rows: pa.Table, name: str, limit: int) -> None:
    """Print rows: side by side if there are few columns, else one after the other; nested ones as counts."""
    found = [{key: told(value) for key, value in row.items()} for row in rows.slice(0, limit).to_pylist()]
    if rows.num_columns > 12:
        for number, row in enumerate(found):
            show_facts(f"{name}, row {number}", row)
    else:
        show_rows(name, rows.column_names, [list(row.values()) for row in found])
    say(f"{len(found)} of {rows.num_rows} rows")


def told(value: object) -> object:
    """Return what to print of a cell."""
    if isinstance(value, dict):
        return f"{len(next(iter(value.values()), []))} rows"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{value:.8g}" if isinstance(value, float) else value


def draw(catalog: Catalog, objectid: int | None, path: Path, *, fold: bool, period: float | None) -> None:
    """Draw all light curves of a star."""
    from zsds_tasks.catalog import period_of
    from zsds_tasks.catalog.plot import plot_light_curves
    from zsds_tasks.errors import UnusableInputError

    if objectid is None:
        raise UnusableInputError("no light curve lies there", subject=str(path), remedy="widen the cone")
    curves = catalog.light_curves(objectid)
    if fold and period is None:
        star = catalog.object_of(objectid) if "objects" in catalog.tables else None
        period = (star or {}).get("period") or period_of(curves)
        if period is None:
            raise UnusableInputError(
                "has no period, and too few epochs to find one", subject=str(objectid), remedy="give --period"
            )
    plot_light_curves(curves, path, period=period)
    # Not among the rows, which may be on their way into a file.
    words = f"{sum(len(curve) for curve in curves)} epochs of {len(curves)} light curves in {path}"
    errors.print(words, markup=False, soft_wrap=True)
