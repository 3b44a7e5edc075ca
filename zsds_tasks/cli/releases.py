"""Releases and what changed between them: ``zsds release ...`` and ``zsds diff``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from zsds_tasks.cli.console import say, show_facts, show_rows

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.differences import TableDifference

SHOWN = 20
Number = Annotated[str, typer.Argument(help="A release, e.g. dr2 or 2.")]
State = Annotated[str, typer.Argument(help="A Delta version, e.g. 12, or a release, e.g. dr1.")]

release = typer.Typer(help="Make, list, show and withdraw releases.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(release, name="release")
    app.command()(diff)


@release.command()
def make(title: Annotated[str | None, typer.Option(help="Instead of the configured title.")] = None) -> None:
    """Publish the tables of a release together under the next number; without changes the latest stays."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.release import release_tables

    settings = load_settings()
    summary = release_tables(open_lakehouse(settings), settings, dt.datetime.now(dt.UTC), title=title)
    show_facts("release" if summary.is_new else "nothing has changed since", summary.as_dict())


@release.command("list")
def list_all() -> None:
    """Name every release."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.lakehouse.releases import list_releases

    rows = [
        (
            one.name,
            one.created.strftime("%Y-%m-%d %H:%M"),
            one.status,
            f"{one.first_night}-{one.last_night}" if one.first_night else "",
            sum(table.rows for table in one.tables.values()),
            one.title,
        )
        for one in list_releases(open_lakehouse().storage)
    ]
    show_rows("releases", ("release", "made (UTC)", "status", "nights", "rows", "title"), rows)


@release.command()
def show(
    number: Number,
    changes: Annotated[bool, typer.Option("--changes", help="Print its list of changes instead.")] = False,
) -> None:
    """Print what a release holds."""
    from zsds_tasks.lakehouse import open_lakehouse, paths
    from zsds_tasks.lakehouse.releases import read_release

    storage = open_lakehouse().storage
    found = read_release(storage, _number(number))
    if changes:
        say(storage.read_bytes(paths.release_file(found.number, "CHANGES.md")).decode())
        return
    facts: dict[str, object] = {
        "title": found.title,
        "made": found.created.isoformat(),
        "status": f"withdrawn {found.withdrawn}: {found.reason}" if found.withdrawn else found.status,
        "nights": f"{found.first_night} to {found.last_night}" if found.first_night else "not known",
        "images": sum(found.image_versions.values()),
        "code": found.code_version,
        "compared with": f"dr{found.previous}" if found.previous else "nothing: it is the first",
        "where": found.uri,
    }
    show_facts(found.name, facts)
    rows = [(one.name, one.rows, one.files, one.bytes, one.uri) for one in found.tables.values()]
    show_rows("tables", ("table", "rows", "files", "bytes", "where"), rows)
    for name, reason in found.left_out.items():
        say(f"left out: {name}, which {reason}")


@release.command()
def withdraw(number: Number, reason: Annotated[str, typer.Option(help="What is wrong with it.")]) -> None:
    """Withdraw a release: it stays readable by its number and is never the latest again."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.lakehouse import releases as known

    gone = known.withdraw(open_lakehouse().storage, _number(number), reason, dt.datetime.now(dt.UTC))
    say(f"{gone.name} is withdrawn since {gone.withdrawn}: {gone.reason}")


def diff(
    table: Annotated[str, typer.Argument(help="A table of include/schemas/tables, e.g. lightcurves.")],
    before: State,
    after: State,
    rows: Annotated[int, typer.Option(min=0, help="Show this many examples of each kind.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON on standard output.")] = False,
) -> None:
    """Say what changed in a table between two versions or releases, and which processing caused it."""
    import json

    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.lakehouse.differences import compare_tables

    found = compare_tables(open_lakehouse(), table, before, after, examples=rows)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1, default=str))
        return
    _show_difference(found)


def _number(word: str) -> int:
    from zsds_tasks.lakehouse.releases import number_of

    return number_of(f"dr{word}" if word.isdecimal() else word)


def _show_difference(found: TableDifference) -> None:
    facts: dict[str, object] = {
        "rows": f"{found.rows_before} before, {found.rows_after} after",
        "added": found.added,
        "removed": found.removed,
        "changed": found.changed,
        "read": f"{found.rows_compared} rows; the others are in files that both have",
    }
    if found.images:
        facts["of"] = f"{found.images} images"
    for word, names in (
        ("columns added", found.columns_added),
        ("columns removed", found.columns_removed),
        ("columns of another type", found.columns_altered),
    ):
        if names:
            facts[word] = ", ".join(names)
    show_facts(f"{found.table}: {found.before} -> {found.after}", facts)
    if found.columns:
        columns = [
            (one.name, one.changed, "" if one.largest is None else f"{one.largest:.6g}")
            for one in found.columns
        ]
        show_rows("columns", ("column", "rows changed", "largest change"), columns)
    if found.causes:
        causes = [(c.kind, c.before, c.after, c.added, c.removed, c.changed) for c in found.causes[:SHOWN]]
        names = ("cause", "before", "after", "added", "removed", "changed")
        show_rows(f"explained {found.explained}", names, causes)
        if len(found.causes) > SHOWN:
            say(f"... and {len(found.causes) - SHOWN} more causes: see --json")
    elif not found.is_empty:
        say(f"not explained: {found.explained}")
    if found.nights:
        nights = [(night, *counts) for night, counts in list(found.nights.items())[-SHOWN:]]
        show_rows("nights", ("night", "added", "removed", "changed"), nights)
    for example in found.examples:
        key = ", ".join(f"{name}={value}" for name, value in example.key.items())
        show_facts(
            f"{example.kind}: {key}", {name: f"{old} -> {new}" for name, (old, new) in example.values.items()}
        )
