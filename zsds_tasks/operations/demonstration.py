"""One night on one machine, as ``make run`` shows it.

The simulator plays the camera: it delivers raw frames into the incoming folder. Everything after that is
the pipeline's own doing: Airflow's scheduler wakes the ingest as files arrive and, when the camera has gone
quiet, a run of the night DAG does the rest. Nothing here calls a step.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.paths import report as report_path
from zsds_tasks.operations.airflow_api import FINAL_STATES, AirflowApi
from zsds_tasks.operations.doctor import folder_size
from zsds_tasks.operations.installation import Installation
from zsds_tasks.operations.stack import Stack
from zsds_tasks.operations.summary import MEBIBYTE, summary_lines
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.night import simulate_night
from zsds_tasks.simulator.score import score_raw
from zsds_tasks.simulator.score_calibration import score_calibration
from zsds_tasks.simulator.score_science import score_science
from zsds_tasks.steps.incoming import IncomingConfig, look
from zsds_tasks.steps.report import night_summary
from zsds_tasks.steps.report.build import PAGE
from zsds_tasks.survey.nights import ObservingNight

FIRST_NIGHT = dt.date(
    2025, 10, 12
)  # autumn: every field of the mini grid is up, and the Moon rises at midnight
POLL_S = 1.0
RESEND_PATIENCE_S = 120.0  # the camera sends a file again once the first copy has been taken in
INGEST_PATIENCE_S = 300.0
NIGHT_PATIENCE_S = 1800.0
SILENT: Callable[[str], None] = lambda _: None  # noqa: E731 - a default that says nothing


@dataclass(frozen=True)
class Outcome:
    """What came of the night.

    Parameters
    ----------
    night : ObservingNight
        Which.
    ok : bool
        Whether Airflow's run of the night succeeded.
    facts : dict
        Names and values for the console.
    quarantined : list of tuple
        Refused files and why.
    report : str
        Where the report is.
    """

    night: ObservingNight
    ok: bool
    facts: dict[str, object]
    quarantined: list[tuple[str, str]]
    report: str


@dataclass
class _Camera:
    """The simulator in a thread of its own, and how far it is."""

    done: int = 0
    total: int = 0
    seconds: float = 0.0
    failure: BaseException | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    def start(self, settings: Settings, night: ObservingNight, seed: int, exposures: int | None) -> None:
        def play() -> None:
            started = time.monotonic()
            try:
                simulate_night(
                    settings,
                    night,
                    seed,
                    exposures=exposures,
                    progress=self._advance,
                    patience_s=RESEND_PATIENCE_S,
                )
            except BaseException as error:  # noqa: BLE001 - carried over to the main thread and raised there
                self.failure = error
            self.seconds = time.monotonic() - started

        self.thread = threading.Thread(target=play, name="camera", daemon=True)
        self.thread.start()

    def _advance(self, done: int, total: int, _what: str) -> None:
        self.done, self.total = done, total

    @property
    def is_quiet(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()


def next_night(settings: Settings) -> ObservingNight:
    """Return the night after the last one simulated here."""
    known = sorted(
        ObservingNight.parse(path.name)
        for path in (settings.truth_folder.iterdir() if settings.truth_folder.exists() else ())
        if path.is_dir() and path.name.isdigit()
    )
    return ObservingNight(known[-1].date + dt.timedelta(days=1)) if known else ObservingNight(FIRST_NIGHT)


def run_night(
    settings: Settings,
    *,
    seed: int,
    night: ObservingNight | None = None,
    exposures: int | None = None,
    tell: Callable[[str], None] = SILENT,
    say: Callable[[str], None] = SILENT,
) -> Outcome:
    """Deliver a simulated night and let Airflow process it.

    Parameters
    ----------
    settings : Settings
        The installation.
    seed : int
        Of the simulated sky and camera.
    night : ObservingNight, optional
        Default the next one.
    exposures : int, optional
        Cut the night short.
    tell, say : callable
        Told the progress (one line, overwritten) and the milestones (a line each).

    Returns
    -------
    Outcome
        What came of it.

    Raises
    ------
    TransientError
        If a service dies or the night does not end in time.
    """
    started = time.monotonic()
    night = night or next_night(settings)
    stack = Stack(Installation(settings))
    was_up = stack.is_up
    camera = _Camera()
    try:
        say(f"Night {night}, camera {settings.camera}, seed {seed}; everything lies under {settings.var}")
        stack.start(say)
        os.environ.update(stack.installation.ray_environment(stack.ray_address))
        joined = settings.model_copy(update={"ray_address": stack.ray_address})
        camera.start(joined, night, seed, exposures)
        say("the camera delivers while Airflow wakes up")
        lakehouse = open_lakehouse(settings)
        with _while_waking(stack, camera, tell) as api:
            say(f"Airflow is up at {stack.url} after {time.monotonic() - started:.0f} s")
            _wait_for_ingest(settings, lakehouse, str(night), camera, tell)
            say(f"all frames taken in after {time.monotonic() - started:.0f} s; Airflow runs the night")
            state = _process_night(api, night, tell)
    finally:
        if not was_up:
            tell("stopping Airflow and Ray")
            stack.stop()
    return _outcome(settings, lakehouse, night, state, time.monotonic() - started, camera)


def _while_waking(stack: Stack, camera: _Camera, tell: Callable[[str], None]) -> AirflowApi:
    result: list[AirflowApi] = []
    failure: list[Exception] = []

    def wait() -> None:
        try:
            api = stack.wait()
            for dag_id in ("ingest", "exposure", "night"):
                api.wait_for_dag(dag_id)
            result.append(api)
        except Exception as error:  # noqa: BLE001 - carried over to the main thread and raised there
            failure.append(error)

    waking = threading.Thread(target=wait, daemon=True)
    waking.start()
    while waking.is_alive():
        tell(f"camera: exposure {camera.done} of {camera.total or '?'} · Airflow: starting")
        _raise_camera_failure(camera)
        waking.join(POLL_S)
    if failure:
        raise failure[0]
    return result[0]


def _wait_for_ingest(
    settings: Settings, lakehouse: Lakehouse, night: str, camera: _Camera, tell: Callable[[str], None]
) -> None:
    quiet_since: float | None = None
    while True:
        _raise_camera_failure(camera)
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


def _process_night(api: AirflowApi, night: ObservingNight, tell: Callable[[str], None]) -> str:
    run_id = api.run_dag("night", f"night_{night}", f"{night.date.isoformat()}T00:00:00Z")
    started = time.monotonic()
    while time.monotonic() - started < NIGHT_PATIENCE_S:
        state = api.run_state("night", run_id)
        tasks = api.task_states("night", run_id)
        tell(f"night {night} {state} · " + " · ".join(f"{name}: {state}" for name, state in tasks.items()))
        if state in FINAL_STATES:
            return state
        time.sleep(POLL_S)
    raise TransientError(
        f"the night's run has not ended after {NIGHT_PATIENCE_S:.0f} s",
        subject=run_id,
        remedy="look at it in Airflow (`make up`)",
    )


def _raise_camera_failure(camera: _Camera) -> None:
    if camera.failure is not None:
        raise camera.failure


def _outcome(
    settings: Settings,
    lakehouse: Lakehouse,
    night: ObservingNight,
    state: str,
    seconds: float,
    camera: _Camera,
) -> Outcome:
    refused = lakehouse.table("quarantine")
    rows = refused.read(where={"night": str(night)}).to_pylist() if refused.exists() else []
    score = score_raw(lakehouse, settings.truth_folder, night)
    masters = score_calibration(lakehouse, settings.truth_folder, night)
    science = score_science(lakehouse, settings.truth_folder, night)
    met = sum(measure.ok for measure in masters)
    facts = summary_lines(night_summary(lakehouse, str(night))) | {
        "against truth": score.for_report()["sentence"],
        "masters": f"{met} of {len(masters)} measures of the calibration masters reach their targets",
        "images": f"{sum(m.ok for m in science)} of {len(science)} measures of images reach theirs",
        "disk used": f"{folder_size(settings.var) / MEBIBYTE:.0f} MiB under {settings.var}",
        "time": f"{seconds:.0f} s, of which the camera took {camera.seconds:.0f} s",
        "Airflow's run": state,
    }
    return Outcome(
        night=night,
        ok=state == "success" and score.is_perfect and met == len(masters),
        facts=facts,
        quarantined=[(row["filename"], f"{row['code']}: {row['reason']}") for row in rows],
        report=lakehouse.storage.uri(report_path(str(night), PAGE)),
    )
