"""``zsds alerts ...`` and ``zsds lineage``: make packets, send and archive them, tail a stream, walk back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zsds_tasks.cli.console import live_line, say, show_facts, show_rows

alerts = typer.Typer(
    help="Make alert packets, send them, archive a night, look at a stream.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(alerts, name="alerts")
    app.command()(lineage)


@alerts.command()
def make(
    night: Annotated[str, typer.Argument(help="Observing night, YYYYMMDD.")],
    expid: Annotated[list[int] | None, typer.Option(help="Only this exposure; may be repeated.")] = None,
) -> None:
    """Name and pack the candidates of a night that trigger; packets wait in the outbox."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.run import make_alerts
    from zsds_tasks.survey.nights import ObservingNight

    settings = load_settings()
    with live_line() as tell:
        summary = make_alerts(
            open_lakehouse(settings),
            settings,
            night=str(ObservingNight.parse(night)),
            expids=expid or None,
            progress=lambda what, done, total: tell(f"alerts: {done} of {total} {what}"),
        )
    show_facts(f"alerts of {night}", summary.as_dict())


@alerts.command()
def send() -> None:
    """Deliver what waits in the outbox to Kafka; nothing is sent twice."""
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.send import send_alerts

    total = 0

    with live_line() as tell:

        def confirmed(more: int) -> None:
            nonlocal total
            total += more
            tell(f"alerts: {total} confirmed")

        done = send_alerts(load_settings(), confirmed)
    show_facts("sent", done)


@alerts.command()
def archive(night: Annotated[str, typer.Argument(help="Observing night, YYYYMMDD.")]) -> None:
    """Write the packets of a finished night to ztf_public_NIGHT.tar.gz and the partners' like."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.archive import archive_alerts

    settings = load_settings()
    show_facts(f"archive of {night}", archive_alerts(open_lakehouse(settings), settings, night).as_dict())


@alerts.command()
def tail(
    topic: Annotated[str, typer.Argument(help="Topic, or a pattern that begins with ^.")] = "^ztf_.*",
    out: Annotated[Path | None, typer.Option(help="Folder in which cut-outs are saved as pictures.")] = None,
    idle: Annotated[float | None, typer.Option(help="End when nothing has come for so many seconds.")] = None,
    from_start: Annotated[bool, typer.Option(help="Begin with the oldest packet.")] = False,
) -> None:
    """Show a stream as it comes."""
    from zsds_tasks.broker import receive
    from zsds_tasks.science.alerts.encode import decode_packet
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.pictures import draw_stamps

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for received in receive([topic], load_settings(), from_start=from_start, until_idle_s=idle):
        packet = decode_packet(received.payload)
        candidate = packet["candidate"]
        say(
            f"{packet['objectId']} {packet['candid']} fid {candidate['fid']} "
            f"{'+' if candidate['isdiffpos'] in ('t', '1') else '-'} {candidate['magpsf']:.2f} mag "
            f"at {candidate['ra']:.5f} {candidate['dec']:+.5f}, {len(packet['prv_candidates'] or [])} earlier"
        )
        if out is not None:
            (out / f"{packet['candid']}.png").write_bytes(draw_stamps(packet))


def lineage(candid: Annotated[int, typer.Argument(help="Candidate or alert.")]) -> None:
    """Walk from an alert back to the raw file, masters, reference and its epochs."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps.alerts.lineage import lineage as walk

    steps = walk(open_lakehouse(), candid)
    show_rows(
        f"lineage of {candid}",
        ("what", "which", "version", "detail"),
        [(step.what, step.identifier, step.version, step.detail) for step in steps],
    )
