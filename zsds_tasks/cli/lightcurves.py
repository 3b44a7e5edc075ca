"""``zsds lightcurves``: bring light curves up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from zsds_tasks.cli.console import live_line, show_facts


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(lightcurves)


def lightcurves(
    field: Annotated[list[int] | None, typer.Option(help="Only this field; may be repeated.")] = None,
) -> None:
    """Match sources to stars, refine zero points and gather light curves; what is up to date stays."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.lightcurves import update_lightcurves

    settings = load_settings()
    with live_line() as tell:
        summary = update_lightcurves(
            open_lakehouse(settings),
            settings,
            fields=field or None,
            progress=lambda what, done, total: tell(f"light curves: {done} of {total} {what}"),
        )
    show_facts("light curves", summary.as_dict())
