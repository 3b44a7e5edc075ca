"""``zsds objects`` and ``zsds survey``: bring objects up to date, bring the survey to one scale."""

from __future__ import annotations

import typer

from zsds_tasks.cli.console import live_line, show_facts


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(objects)
    app.command()(survey)


def objects() -> None:
    """Measure light curves, join those of one star into objects, find periods; what is up to date stays."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.objects import update_objects

    settings = load_settings()
    with live_line() as tell:
        summary = update_objects(
            open_lakehouse(settings),
            settings,
            progress=lambda what, done, total: tell(f"objects: {done} of {total} {what}"),
        )
    show_facts("objects", summary.as_dict())


def survey() -> None:
    """Solve for the zero points of all fields together; the next `zsds objects` applies what came of it."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.objects import solve_survey

    settings = load_settings()
    show_facts("survey", solve_survey(open_lakehouse(settings), settings).as_dict())
