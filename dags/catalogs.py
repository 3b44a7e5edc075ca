"""Every month: bring light curves and objects of the whole survey up to date and make a release of them."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import dag, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import PROCESSING_POOL


@task
@step
def update_catalogs() -> dict[str, object]:
    """Bring light curves and objects up to date, solve for the scale of the survey and apply it."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.images import require_images

    settings = load_settings()
    lakehouse = open_lakehouse(settings)
    require_images(lakehouse)
    from zsds_tasks.steps import lightcurves, objects, release

    done = {
        "lightcurves": lightcurves.update_lightcurves(lakehouse, settings).as_dict(),
        "measured": objects.update_objects(lakehouse, settings).as_dict(),
        "survey": objects.solve_survey(lakehouse, settings).as_dict(),
        "objects": objects.update_objects(lakehouse, settings).as_dict(),
    }
    release.compact_tables(lakehouse, settings)
    return done


@task
@step
def check_catalogs() -> dict[str, object]:
    """Run the expectation suites on all light curves and objects; a critical failure stops the release."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import catalog_checks

    settings = load_settings()
    return catalog_checks.check_catalogs(open_lakehouse(settings), settings=settings).as_dict()


@task
@step
def make_release(checked: dict[str, Any]) -> dict[str, object]:
    """Publish the catalogues as they were checked under the next number, with what changed since the last."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import release

    settings = load_settings()
    made = release.release_tables(
        open_lakehouse(settings), settings, now=pendulum.now("UTC"), checked=checked["versions"]
    )
    return made.as_dict()


@dag(
    schedule="@monthly",
    start_date=pendulum.datetime(2017, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=RETRY_POLICY | {"pool": PROCESSING_POOL},
    tags=["zsds", "catalogs"],
    doc_md=__doc__,
)
def catalogs() -> None:
    """Light curves, survey-wide calibration, objects, checks, release."""
    checked = check_catalogs()
    update_catalogs() >> checked
    make_release(checked)


catalogs_dag = catalogs()
