"""Run the installation: ``run``, ``up``, ``down``, ``doctor``, ``warm``."""

from __future__ import annotations

from typing import Annotated

import typer

from zsds_tasks.cli.console import console, live_line, say, show_facts, show_rows


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (run, up, down, doctor, warm):
        app.command()(command)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(airflow)


def run(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated sky and camera.")] = 1,
    night: Annotated[
        str, typer.Option(help="YYYYMMDD; default the next, or the next two without references.")
    ] = "",
    exposures: Annotated[
        int | None, typer.Option(min=1, help="At most this many exposures of a night.")
    ] = None,
) -> None:
    """Simulate nights of raw frames; Airflow takes them from there to alerts, catalogues and reports."""
    from zsds_tasks.operations.demonstration import run_nights
    from zsds_tasks.operations.summary import ALERT_HEADINGS, MOST_ALERTS
    from zsds_tasks.settings import load_settings
    from zsds_tasks.survey.nights import ObservingNight

    settings = load_settings()
    with live_line() as tell:
        outcomes = run_nights(
            settings,
            seed=seed,
            night=ObservingNight.parse(night) if night else None,
            exposures=exposures,
            tell=tell,
            say=say,
        )
    for outcome in outcomes:
        console.print()
        show_facts(f"Night {outcome.night}", outcome.facts)
        if outcome.quarantined:
            show_rows("Quarantined", ("file", "why"), outcome.quarantined)
        if outcome.alerts:
            show_rows(f"Alerts of {outcome.night}", ALERT_HEADINGS, outcome.alerts[:MOST_ALERTS])
            if len(outcome.alerts) > MOST_ALERTS:
                say(f"{len(outcome.alerts) - MOST_ALERTS} more, less trustworthy, are in the table `alerts`")
    console.print()
    for outcome in outcomes:
        say(f"Report: {outcome.report}")
    say("`make up` keeps Airflow's pages open; `make run` again delivers the next night.")
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(4)


def up() -> None:
    """Start Airflow and Ray, wait until they are healthy, and leave them running."""
    from zsds_tasks.operations.installation import ADMIN, Installation
    from zsds_tasks.operations.stack import Stack
    from zsds_tasks.settings import load_settings

    installation = Installation(load_settings())
    stack = Stack(installation)
    stack.start(say)
    with stack.wait():
        pass  # healthy, and its pools are there
    show_facts(
        "Airflow is up",
        {
            "address": stack.url,
            "user": ADMIN,
            "password": installation.password(),
            "stop it with": "make down",
        },
    )


def down() -> None:
    """Stop what `up` or `run` started, and nothing else."""
    from zsds_tasks.operations.installation import Installation
    from zsds_tasks.operations.stack import Stack
    from zsds_tasks.settings import load_settings

    stopped = Stack(Installation(load_settings())).stop()
    say(f"stopped {', '.join(stopped)}" if stopped else "nothing of ours was running")


def doctor() -> None:
    """Look at what is installed, reachable and configured; exits with 5 if something is wrong."""
    from zsds_tasks.operations.doctor import examine
    from zsds_tasks.settings import load_settings

    findings = examine(load_settings())
    show_rows(
        "doctor", ("", "what", "found"), [("ok" if f.ok else "NO", f.subject, f.detail) for f in findings]
    )
    if not all(f.ok for f in findings):
        raise typer.Exit(5)


def warm() -> None:
    """Compile all kernels ahead, on all cores; without it, each is compiled where it is first used."""
    from zsds_tasks.operations.kernels import compile_kernels

    with live_line() as tell:
        seconds = compile_kernels(tell)
    say(f"kernels are compiled ({seconds:.0f} s)")


def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line on this installation, e.g. `zsds airflow backfill create --help`."""
    from zsds_tasks.errors import NothingToDoError
    from zsds_tasks.operations.airflow_cli import run_airflow
    from zsds_tasks.operations.installation import Installation
    from zsds_tasks.operations.stack import Stack
    from zsds_tasks.settings import load_settings

    stack = Stack(Installation(load_settings()))
    if not stack.is_up:
        raise NothingToDoError("Airflow is not running", remedy="start it with `make up`")
    raise typer.Exit(run_airflow(context.args, stack.environment()))
