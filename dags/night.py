"""After each observing night: take in, calibrate, check, publish, report. Backfills run this."""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, get_current_context, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import HOT_PATH_POOL, INGEST_POOL, PROCESSING_POOL, noon_utc_hour
from zsds_airflow.timetables import ObservingNightTimetable


def night_of_this_run() -> str:
    """Return YYYYMMDD: the parameter where given, else the start of the data interval."""
    context = get_current_context()
    return context["params"]["night"] or context["data_interval_start"].strftime("%Y%m%d")


@task(pool=INGEST_POOL)
@step
def ingest_remaining() -> dict[str, object]:
    """Take in what still lies in the incoming folder."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import raw

    settings = load_settings()
    return raw.ingest_rest(open_lakehouse(settings), settings, pendulum.now("UTC"))


@task
@step
def assess_raw() -> dict[str, object]:
    """Measure every raw quadrant that has not been measured; skip the run if the night has no frames."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import quality

    settings = load_settings()
    return quality.assess_rest(open_lakehouse(settings), settings, night_of_this_run(), pendulum.now("UTC"))


@task(pool=HOT_PATH_POOL)
@step
def build_masters() -> dict[str, object]:
    """Build the night's masters and lamp maps; a refused one says why in its row."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import calibration

    settings, now = load_settings(), pendulum.now("UTC")
    lakehouse, this = open_lakehouse(settings), night_of_this_run()
    masters = calibration.build_masters(lakehouse, settings, this, now)
    maps = calibration.build_lamp_maps(lakehouse, settings, this, now)
    return {"masters": masters.as_dict(), "maps": maps.as_dict()}


@task(pool=HOT_PATH_POOL)
@step
def process_exposures() -> dict[str, object]:
    """Bring every exposure of the night not done yet to candidates; a failing channel says why in its row."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import exposure

    # The night is over: nobody waits for missing CCDs any more.
    settings = load_settings().model_copy(update={"grace_minutes": 0.0})
    return exposure.process_exposures(
        open_lakehouse(settings), settings, pendulum.now("UTC"), night=night_of_this_run()
    ).as_dict()


@task(pool=HOT_PATH_POOL)
@step
def refine_calibration() -> dict[str, object]:
    """Learn from the night's stars and ghosts what later nights use: star flats, ghost models."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import calibration, ghosts

    settings, now = load_settings(), pendulum.now("UTC")
    lakehouse, this = open_lakehouse(settings), night_of_this_run()
    star_flats = calibration.build_star_flats(lakehouse, settings, this, now)
    models = ghosts.fit_ghosts(lakehouse, settings, this, now)
    return {"star_flats": star_flats.as_dict(), "ghosts": models.as_dict()}


@task(pool=HOT_PATH_POOL)
@step
def make_alerts() -> dict[str, object]:
    """Name and pack the candidates that trigger; packets wait in the outbox."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts import run

    settings = load_settings()
    return run.make_alerts(open_lakehouse(settings), settings, night=night_of_this_run()).as_dict()


@task
@step
def send_alerts() -> dict[str, object]:
    """Deliver the outbox; skipped without a broker, and nothing depends on it."""
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.send import send_alerts as deliver

    return deliver(load_settings())


@task
@step
def archive_alerts() -> dict[str, object]:
    """Put the packets of the night into its archives; nothing depends on it."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.archive import archive_alerts as archive

    settings = load_settings()
    return archive(open_lakehouse(settings), settings, night_of_this_run()).as_dict()


@task
@step
def gather_alert_curves() -> dict[str, object]:
    """Bring the alerts of tonight's objects together as light curves."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps.alerts.curves import gather_alert_curves as gather

    return gather(open_lakehouse(), night_of_this_run()).as_dict()


@task(pool=HOT_PATH_POOL)
@step
def update_lightcurves() -> dict[str, object]:
    """Match the night's sources to stars, refine zero points, gather light curves."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import lightcurves

    settings = load_settings()
    return lightcurves.update_lightcurves(open_lakehouse(settings), settings).as_dict()


@task(pool=HOT_PATH_POOL)
@step
def update_objects() -> dict[str, object]:
    """Measure light curves that have changed; bring stars of all filters and fields together."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import objects

    settings = load_settings()
    return objects.update_objects(open_lakehouse(settings), settings).as_dict()


@task
@step
def check_tables() -> dict[str, object]:
    """Run the expectation suites on the night's rows."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import checks

    return checks.check_night(open_lakehouse(), night_of_this_run()).as_dict()


@task
@step
def publish_catalogs() -> dict[str, object]:
    """Publish the tables that were checked as HATS catalogues; releases publish light curves and objects."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import publish

    return {catalog.name: catalog.version for catalog in publish.publish_night(open_lakehouse())}


@task
@step
def score_against_truth() -> dict[str, object]:
    """Compare a simulated night with what was planted; skip a real one."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.simulator import (
        score,
        score_calibration,
        score_candidates,
        score_curves,
        score_science,
        score_variability,
    )
    from zsds_tasks.survey.nights import ObservingNight

    settings = load_settings()
    night = ObservingNight.parse(night_of_this_run())
    lakehouse, truth = open_lakehouse(settings), settings.truth_folder
    report = score.score_raw(lakehouse, truth, night).for_report()
    masters = score_calibration.score_calibration(lakehouse, truth, night)
    science = score_science.assess_science(lakehouse, truth, night)
    candidates = score_candidates.assess_candidates(lakehouse, truth, night)
    curves = score_curves.assess_curves(lakehouse, truth, night)
    variability = score_variability.assess_variability(lakehouse, truth, night)
    report = score_science.with_science(score_calibration.with_masters(report, masters), science)
    report = score_curves.with_curves(score_candidates.with_candidates(report, candidates), curves)
    return score_variability.with_variability(report, variability)


@task(trigger_rule="all_done")
@step
def write_report(score: dict[str, object] | None) -> str:
    """Write the night's report, whatever the checks say: it is where a failed night is read."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import report

    settings = load_settings()
    return report.build_report(
        open_lakehouse(settings), settings, night_of_this_run(), now=pendulum.now("UTC"), score=score
    )


@dag(
    schedule=ObservingNightTimetable(noon_utc_hour()),
    start_date=pendulum.datetime(2017, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=RETRY_POLICY | {"pool": PROCESSING_POOL},
    params={
        "night": Param("", type="string", pattern="^([0-9]{8})?$", description="YYYYMMDD; default: the run's")
    },
    tags=["zsds", "night"],
    doc_md=__doc__,
)
def night() -> None:
    """One observing night."""
    processed, refined = process_exposures(), refine_calibration()
    checked, scored = check_tables(), score_against_truth()
    alerted = make_alerts()
    ingest_remaining() >> assess_raw() >> build_masters() >> processed
    processed >> refined >> [checked, scored]
    processed >> alerted >> [scored, send_alerts(), archive_alerts()]
    alerted >> gather_alert_curves() >> checked
    processed >> update_lightcurves() >> update_objects() >> [checked, scored]
    checked >> [publish_catalogs(), write_report(scored)]


night_dag = night()
