"""``zsds simulate``: nights of raw frames with known truth."""

from __future__ import annotations

from typing import Annotated

import typer

from zsds_tasks.cli.console import live_line, show_facts


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(simulate)


def simulate(
    camera: Annotated[str, typer.Option(help="A file of include/config/cameras: mini, ztf.")] = "",
    nights: Annotated[int, typer.Option(min=1, help="How many nights, one after the other.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    first_night: Annotated[
        str, typer.Option(help="YYYYMMDD; default the night after the last simulated one.")
    ] = "",
    exposures: Annotated[
        int | None, typer.Option(min=1, help="At most this many exposures of a night.")
    ] = None,
    faults: Annotated[bool, typer.Option(help="Deliver some damaged and repeated files too.")] = True,
    without: Annotated[
        list[str] | None, typer.Option(help="Effect to switch off, e.g. clouds; may be repeated.")
    ] = None,
    campaign: Annotated[
        str, typer.Option(help="A campaign of simulator.yaml, e.g. deep; default the whole grid.")
    ] = "",
) -> None:
    """Simulate nights into the incoming folder, with their truth beside it."""
    import datetime as dt

    from zsds_tasks.operations.demonstration import next_night
    from zsds_tasks.settings import load_settings
    from zsds_tasks.simulator.night import simulate_night
    from zsds_tasks.survey.nights import ObservingNight

    settings = load_settings()
    if camera:
        settings = settings.model_copy(update={"camera": camera})
    night = ObservingNight.parse(first_night) if first_night else next_night(settings)
    for number in range(nights):
        this = ObservingNight(night.date + dt.timedelta(days=number))
        with live_line() as tell:
            summary = simulate_night(
                settings,
                this,
                seed,
                exposures=exposures,
                faults=faults,
                without=tuple(without or ()),
                campaign=campaign,
                progress=lambda done, total, what: tell(f"exposure {done} of {total} · {what}"),
            )
        show_facts(f"night {this}", summary.as_dict())
