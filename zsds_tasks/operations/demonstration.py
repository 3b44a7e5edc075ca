"""Nights on one machine, as ``make run`` shows them.

The simulator plays the camera: it delivers raw frames into the incoming folder. Everything after that is
the pipeline's own doing: Airflow's scheduler wakes the ingest as files arrive, an exposure that is complete
is processed to alerts, and, when the camera has gone quiet, a run of the night DAG does the rest, one of the
references DAG stacks what there is, and one of the catalogs DAG makes a release. Nothing here calls a step.
A new installation has no reference to subtract: its first night makes them, and the second is the one with
alerts.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.paths import report as report_path
from zsds_tasks.operations.airflow_api import FINAL_STATES, AirflowApi
from zsds_tasks.operations.camera import Camera
from zsds_tasks.operations.doctor import folder_size
from zsds_tasks.operations.installation import Installation
from zsds_tasks.operations.stack import Stack
from zsds_tasks.operations.summary import MEBIBYTE, alert_lines, alerts_tonight, catalog_lines, summary_lines
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.score import score_raw
from zsds_tasks.simulator.score_calibration import score_calibration
from zsds_tasks.simulator.score_candidates import assess_candidates
from zsds_tasks.simulator.score_science import score_science
from zsds_tasks.steps.incoming import IncomingConfig, look
from zsds_tasks.steps.report import night_summary
from zsds_tasks.steps.report.build import PAGE
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight

FIRST_NIGHT = dt.date(
    2025, 10, 12
)  # autumn: every field of the mini grid is up, and the Moon rises at midnight
POLL_S = 1.0
INGEST_PATIENCE_S = 300.0
NIGHT_PATIENCE_S = 1800.0
DAGS = ("ingest", "exposure", "night", "references", "catalogs")
AFTER = {
    "night": "all frames taken in after {:.0f} s; Airflow runs the night",
    "references": "night done after {:.0f} s; Airflow builds references",
    "catalogs": "references done after {:.0f} s; Airflow makes a release of light curves and objects",
}
"""What is run for a night, in this order, and what is said before each."""
SILENT: Callable[[str], None] = lambda _: None  # noqa: E731 - a default that says nothing


@dataclass(frozen=True)
class Outcome:
    """What came of the night.

    Parameters
    ----------
    night : ObservingNight
        Which.
    ok : bool
        Whether Airflow's runs succeeded, ingest was right and the masters reach their targets.
    facts : dict
        Names and values for the console.
    quarantined : list of tuple
        Refused files and why.
    report : str
        Where the report is.
    alerts : list of tuple
        Tonight's, the most trustworthy first; see `alerts_tonight`.
    """

    night: ObservingNight
    ok: bool
    facts: dict[str, object]
    quarantined: list[tuple[str, str]]
    report: str
    alerts: list[tuple[str, ...]]


def next_night(settings: Settings) -> ObservingNight:
    """Return the night after the last one simulated here."""
    known = sorted(
        ObservingNight.parse(path.name)
        for path in (settings.truth_folder.iterdir() if settings.truth_folder.exists() else ())
        if path.is_dir() and path.name.isdigit()
    )
    return ObservingNight(known[-1].date + dt.timedelta(days=1)) if known else ObservingNight(FIRST_NIGHT)


def nights_to_run(lakehouse: Lakehouse, first: ObservingNight) -> tuple[ObservingNight, ...]:
    """Return `first`, and the night after it where there is no reference yet to find anything with."""
    references = lakehouse.table("references")
    if references.exists() and references.count({"status": 1}):
        return (first,)
    return first, ObservingNight(first.date + dt.timedelta(days=1))


def campaign_for(settings: Settings) -> str:
    """Return the simulator's campaign for the camera's field grid; empty if it has none."""
    grid = load_camera(settings.camera, settings.include).fields
    campaigns = load_simulator(settings.include).schedule.campaigns
    return next((name for name, campaign in campaigns.items() if campaign.grid == grid), "")


def run_nights(
    settings: Settings,
    *,
    seed: int,
    night: ObservingNight | None = None,
    exposures: int | None = None,
    tell: Callable[[str], None] = SILENT,
    say: Callable[[str], None] = SILENT,
) -> list[Outcome]:
    """Deliver simulated nights and let Airflow process them.

    Parameters
    ----------
    settings : Settings
        The installation.
    seed : int
        Of the simulated sky and camera.
    night : ObservingNight, optional
        Only this one; default the next, or the next two if there are no references yet.
    exposures : int, optional
        Cut each night short.
    tell, say : callable
        Told the progress (one line, overwritten) and the milestones (a line each).

    Returns
    -------
    list of Outcome
        What came of each night.

    Raises
    ------
    TransientError
        If a service dies or a night does not end in time.
    """
    lakehouse = open_lakehouse(settings)
    nights = (night,) if night else nights_to_run(lakehouse, next_night(settings))
    campaign = campaign_for(settings)
    say(f"Camera {settings.camera}, seed {seed}; everything lies under {settings.var}")
    if len(nights) > 1:
        say(f"no references yet: night {nights[0]} is for them, night {nights[1]} for alerts")
    with _services(settings, tell, say) as stack:
        joined = settings.model_copy(update={"ray_address": stack.ray_address})
        outcomes = []
        for this in nights:
            started, camera = time.monotonic(), Camera(campaign)
            say(f"Night {this}: the camera delivers")
            camera.start(joined, this, seed, exposures)
            with _while_waking(stack, camera, tell) as api:
                _wait_for_ingest(settings, lakehouse, str(this), camera, tell)
                states = {}
                for dag, words in AFTER.items():
                    say(words.format(time.monotonic() - started))
                    states[dag] = _run(api, dag, this, tell)
            seconds = time.monotonic() - started
            outcomes.append(_outcome(settings, lakehouse, this, states, seconds, camera))
    return outcomes


@contextmanager
def _services(settings: Settings, tell: Callable[[str], None], say: Callable[[str], None]) -> Iterator[Stack]:
    """Have Airflow and Ray up; stop at the end what was not up before."""
    stack = Stack(Installation(settings))
    was_up = stack.is_up
    try:
        stack.start(say)
        os.environ.update(stack.installation.ray_environment(stack.ray_address))
        yield stack
    finally:
        if not was_up:
            tell("stopping Airflow and Ray")
            stack.stop()


def _while_waking(stack: Stack, camera: Camera, tell: Callable[[str], None]) -> AirflowApi:
    result: list[AirflowApi] = []
    failure: list[Exception] = []

    def wait() -> None:
        try:
            api = stack.wait()
            for dag_id in DAGS:
                api.wait_for_dag(dag_id)
            result.append(api)
        except Exception as error:  # noqa: BLE001 - carried over to the main thread and raised there
            failure.append(error)

    waking = threading.Thread(target=wait, daemon=True)
    waking.start()
    while waking.is_alive():
        tell(f"camera: exposure {camera.done} of {camera.total or '?'} · Airflow: starting")
        camera.check()
        waking.join(POLL_S)
    if failure:
        raise failure[0]
    return result[0]


def _wait_for_ingest(
    settings: Settings, lakehouse: Lakehouse, night: str, camera: Camera, tell: Callable[[str], None]
) -> None:
    quiet_since: float | None = None
    while True:
        camera.check()
        # What ingest leaves alone, folders and the like, is not waited for.
        contents = look(settings.incoming_folder, IncomingConfig())
        waiting = len(contents.complete) + len(contents.unsettled)
        tell(
            f"camera: exposure {camera.done} of {camera.total or '?'} · incoming: {waiting} files · "
            f"archived: {_count(lakehouse, 'raw_exposures', night)} exposures · "
            f"quarantined: {_count(lakehouse, 'quarantine', night)} files"
        )
        if camera.is_quiet:
            quiet_since = quiet_since or time.monotonic()
            if waiting == 0:
                return
            if time.monotonic() - quiet_since > INGEST_PATIENCE_S:
                raise TransientError(
                    f"{waiting} files still wait {INGEST_PATIENCE_S:.0f} s after the last arrived",
                    subject=str(settings.incoming_folder),
                    remedy="look at the ingest DAG's log in Airflow (`make up`)",
                )
        time.sleep(POLL_S)


def _count(lakehouse: Lakehouse, table: str, night: str) -> int:
    source = lakehouse.table(table)
    return source.count({"night": night}) if source.exists() else 0


def _run(api: AirflowApi, dag: str, night: ObservingNight, tell: Callable[[str], None]) -> str:
    """Run a DAG for a night; return the state in which it ended."""
    run_id = api.run_dag(dag, f"{dag}_{night}", f"{night.date.isoformat()}T00:00:00Z")
    started = time.monotonic()
    while time.monotonic() - started < NIGHT_PATIENCE_S:
        state = api.run_state(dag, run_id)
        tasks = api.task_states(dag, run_id)
        tell(f"{dag} {night} {state} · " + " · ".join(f"{name}: {state}" for name, state in tasks.items()))
        if state in FINAL_STATES:
            return state
        time.sleep(POLL_S)
    raise TransientError(
        f"the run has not ended after {NIGHT_PATIENCE_S:.0f} s",
        subject=run_id,
        remedy="look at it in Airflow (`make up`)",
    )


def _outcome(
    settings: Settings,
    lakehouse: Lakehouse,
    night: ObservingNight,
    states: dict[str, str],
    seconds: float,
    camera: Camera,
) -> Outcome:
    refused = lakehouse.table("quarantine")
    rows = refused.read(where={"night": str(night)}).to_pylist() if refused.exists() else []
    score = score_raw(lakehouse, settings.truth_folder, night)
    masters = score_calibration(lakehouse, settings.truth_folder, night)
    science = score_science(lakehouse, settings.truth_folder, night)
    found = assess_candidates(lakehouse, settings.truth_folder, night).measures
    met = sum(measure.ok for measure in masters)
    facts = (
        summary_lines(night_summary(lakehouse, str(night)))
        | alert_lines(lakehouse, str(night))
        | catalog_lines(lakehouse)
        | {
            "against truth": score.for_report()["sentence"],
            "masters": f"{met} of {len(masters)} measures of the calibration masters reach their targets",
            "images": f"{sum(m.ok for m in science)} of {len(science)} measures of images reach theirs",
            "candidates": f"{sum(m.ok for m in found)} of {len(found)} measures of candidates reach theirs",
            "disk used": f"{folder_size(settings.var) / MEBIBYTE:.0f} MiB under {settings.var}",
            "time": f"{seconds:.0f} s, of which the camera took {camera.seconds:.0f} s",
            "Airflow's runs": ", ".join(f"{dag} {state}" for dag, state in states.items()),
        }
    )
    return Outcome(
        night=night,
        ok=set(states.values()) == {"success"} and score.is_perfect and met == len(masters),
        facts=facts,
        quarantined=[(row["filename"], f"{row['code']}: {row['reason']}") for row in rows],
        report=lakehouse.storage.uri(report_path(str(night), PAGE)),
        alerts=alerts_tonight(lakehouse, settings, night),
    )
