"""The steps of a night by hand: ingest, assess, masters, process, check, publish, score, report."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from zsds_tasks.cli.console import live_line, say, show_facts, show_rows

Night = Annotated[str, typer.Argument(help="Observing night, YYYYMMDD.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (
        ingest,
        assess,
        masters,
        process,
        residuals,
        refine,
        leds,
        references,
        difference,
        check,
        publish,
        score,
        report,
        tidy,
    ):
        app.command()(command)


def ingest(
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many files.")] = None,
) -> None:
    """Check, archive and register every complete file of the incoming folder."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import raw

    settings = load_settings()
    with live_line() as tell:
        summary = raw.ingest(
            open_lakehouse(settings),
            settings,
            dt.datetime.now(dt.UTC),
            limit=limit,
            progress=lambda what, done, total: tell(f"{what}: {done} of {total} files"),
        )
    show_facts("ingest", summary.as_dict())


def assess(night: Night) -> None:
    """Measure the raw quadrants of a night that have not been measured."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import quality

    settings = load_settings()
    summary = quality.assess_raw(
        open_lakehouse(settings), settings, dt.datetime.now(dt.UTC), night=_checked(night)
    )
    show_facts(f"quick-look of {night}", summary.as_dict())


def masters(night: Night) -> None:
    """Build what a night's calibration is missing: biases, flats, bad pixels, linearity, shutter."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import calibration

    settings = load_settings()
    lakehouse, this, now = open_lakehouse(settings), _checked(night), dt.datetime.now(dt.UTC)
    with live_line() as tell:
        summaries = {
            name: build(
                lakehouse,
                settings,
                this,
                now,
                progress=lambda what, done, total: tell(f"masters: {done} of {total} {what}"),
            )
            for name, build in (
                ("masters", calibration.build_masters),
                ("lamp maps", calibration.build_lamp_maps),
            )
        }
    for name, summary in summaries.items():
        show_facts(f"{name} of {night}", summary.as_dict())


def process(
    night: Night,
    expid: Annotated[list[int] | None, typer.Option(help="Only this exposure; may be repeated.")] = None,
) -> None:
    """Calibrate a night's science exposures: images, catalogues, verdicts; what is done stays."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import exposure

    settings = load_settings()
    with live_line() as tell:
        summary = exposure.process_exposures(
            open_lakehouse(settings),
            settings,
            dt.datetime.now(dt.UTC),
            night=_checked(night),
            expids=expid or None,
            progress=lambda what, done, total: tell(f"process: {done} of {total} {what}"),
        )
    show_facts(f"exposures of {night}", summary.as_dict())


def residuals(
    expid: Annotated[int, typer.Argument(help="Exposure.")],
    rcid: Annotated[int, typer.Argument(help="Readout channel.")],
    out: Annotated[Path, typer.Option(help="Where to write the picture.")] = Path("residuals.png"),
) -> None:
    """Draw the astrometric residuals of one calibrated channel."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.exposure.residuals import plot_residuals

    settings = load_settings()
    out.write_bytes(plot_residuals(open_lakehouse(settings), settings, expid, rcid))
    say(str(out.resolve()))


def refine(night: Night) -> None:
    """Learn star flats and ghost models from a night's calibrated images; they serve later nights."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import calibration, ghosts

    settings, now = load_settings(), dt.datetime.now(dt.UTC)
    lakehouse, this = open_lakehouse(settings), _checked(night)
    star_flats = calibration.build_star_flats(lakehouse, settings, this, now)
    show_facts(f"star flats of {night}", star_flats.as_dict())
    show_facts(f"ghosts of {night}", ghosts.fit_ghosts(lakehouse, settings, this, now).as_dict())


def leds(night: Night) -> None:
    """Say which LEDs together are as flat as the stars say, and propose their weights."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.calibration import propose_led_weights

    settings = load_settings()
    found = propose_led_weights(open_lakehouse(settings), settings, _checked(night))
    rows = [(name, lamps, f"{100 * rms:.2f} %") for name, lamps, rms in found.table()]
    show_rows(f"LED flats of {night} against its star flats", ("filter", "lamps", "RMS"), rows)
    for reason in found.skipped:
        say(reason)
    say(f"for include/config/calibration.yaml:\n{found.proposal()}")


def references(
    field: Annotated[list[int] | None, typer.Option(help="Only this field; may be repeated.")] = None,
    fid: Annotated[list[int] | None, typer.Option(help="Only this filter number; may be repeated.")] = None,
    rcid: Annotated[list[int] | None, typer.Option(help="Only this channel; may be repeated.")] = None,
) -> None:
    """Build the reference images for which there are epochs enough, or a clearly better choice of them."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import references as step

    settings = load_settings()
    with live_line() as tell:
        summary = step.build_references(
            open_lakehouse(settings),
            settings,
            dt.datetime.now(dt.UTC),
            fields=field or None,
            fids=fid or None,
            rcids=rcid or None,
            progress=lambda what, done, total: tell(f"references: {done} of {total} {what}"),
        )
    show_facts("references", summary.as_dict())


def difference(
    night: Night,
    expid: Annotated[list[int] | None, typer.Option(help="Only this exposure; may be repeated.")] = None,
) -> None:
    """Subtract references from a night's calibrated images, and measure candidates; what is done stays."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import difference as step

    settings = load_settings()
    with live_line() as tell:
        summary = step.subtract_references(
            open_lakehouse(settings),
            settings,
            night=_checked(night),
            expids=expid or None,
            progress=lambda what, done, total: tell(f"difference: {done} of {total} {what}"),
        )
    show_facts(f"differences of {night}", summary.as_dict())


def check(
    night: Annotated[str, typer.Argument(help="YYYYMMDD; or 'catalogs': light curves and objects.")],
    table: Annotated[list[str] | None, typer.Option(help="Only this catalogue; may be repeated.")] = None,
    field: Annotated[list[int] | None, typer.Option(help="Only this field's; may be repeated.")] = None,
) -> None:
    """Run expectations on the rows of a night, or on the catalogues; a failed critical one exits with 4."""
    from zsds_tasks.errors import UnusableInputError
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import catalog_checks, checks

    if night != catalog_checks.CATALOGS and (table or field):
        raise UnusableInputError(
            "--table and --field are for the catalogues", subject=night, remedy="leave them out"
        )
    if night != catalog_checks.CATALOGS:
        summary = checks.check_night(open_lakehouse(), _checked(night))
    else:
        with live_line() as tell:
            summary = catalog_checks.check_catalogs(
                open_lakehouse(),
                names=table or (),
                fields=field or None,
                progress=lambda what, done, total: tell(f"check: {done} of {total} {what}"),
            )
    show_facts(f"checks of {night}", summary.as_dict())


def publish(
    names: Annotated[list[str] | None, typer.Argument(help="Tables; default all over the sky.")] = None,
) -> None:
    """Publish tables as HATS catalogues."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import publish as step

    published = step.publish_tables(open_lakehouse(), names or ())
    show_rows(
        "published",
        ("catalogue", "version", "rows", "where"),
        [(p.name, p.version, p.rows, p.uri) for p in published],
    )


def score(night: Night) -> None:
    """Compare a simulated night with what was planted; wrong ingest or masters exit with 4."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.simulator import score_candidates, score_curves, score_variability
    from zsds_tasks.simulator.score import score_raw
    from zsds_tasks.simulator.score_calibration import is_met, score_calibration
    from zsds_tasks.simulator.score_science import score_science
    from zsds_tasks.survey.nights import ObservingNight

    what = open_lakehouse(), load_settings().truth_folder, ObservingNight.parse(night)
    found, calibrated = score_raw(*what), score_calibration(*what)
    measures = [*found.measures(), *calibrated, *score_science(*what)]
    measures += [*score_candidates.assess_candidates(*what).measures, *score_curves.assess_curves(*what)]
    measures += score_variability.assess_variability(*what).measures
    show_rows(
        f"score of {night}",
        ("measure", "value", "target", "ok", ""),
        [(m.measure, m.value, m.target, "yes" if m.ok else "NO", m.sentence) for m in measures],
    )
    if not found.is_perfect:
        mistakes = found.mistakes.to_pylist()
        show_rows("mistakes", found.mistakes.column_names, [list(row.values()) for row in mistakes])
    if not (found.is_perfect and is_met(calibrated)):
        raise typer.Exit(4)


def report(night: Night) -> None:
    """Write the report of a night and print where it is."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import report as step

    settings = load_settings()
    lakehouse = open_lakehouse(settings)
    path = step.build_report(lakehouse, settings, _checked(night), now=dt.datetime.now(dt.UTC))
    say(lakehouse.storage.uri(path))


def tidy(
    keep: Annotated[int, typer.Option(min=1, help="Publications of each table to keep.")] = 3,
) -> None:
    """Expire old publications; sweep what killed writers left and derived files without a row."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import upkeep

    show_facts("tidied", upkeep.tidy(open_lakehouse(), dt.datetime.now(dt.UTC), keep=keep).as_dict())


def _checked(night: str) -> str:
    from zsds_tasks.survey.nights import ObservingNight

    return str(ObservingNight.parse(night))
