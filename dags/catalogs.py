"""Every month: bring light curves and objects of the whole survey up to date and make a release of them."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import PROCESSING_POOL


@task
@step
def update_lightcurves() -> dict[str, object]:
    """Make the light curves of every unit whose images or reference have changed; skip an empty archive."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import lightcurves

    settings = load_settings()
    lakehouse = open_lakehouse(settings)
    lightcurves.require_images(lakehouse)
    return lightcurves.update_lightcurves(lakehouse, settings).as_dict()


@task
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
def calibrate_survey() -> dict[str, object]:
    """Solve for the zero points of all fields together, by the stars where they overlap."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import objects

    settings = load_settings()
    return objects.solve_survey(open_lakehouse(settings), settings).as_dict()


@task
@step
def apply_calibration() -> dict[str, object]:
    """Make the objects anew whose units have other offsets now."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import objects

    settings = load_settings()
    return objects.update_objects(open_lakehouse(settings), settings).as_dict()


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
def make_release() -> dict[str, object]:
    """Publish the catalogues together under the next number, with what changed since the last."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import release

    settings = load_settings()
    return release.release_tables(open_lakehouse(settings), settings, now=pendulum.now("UTC")).as_dict()


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
    calibrated = update_lightcurves() >> update_objects() >> calibrate_survey() >> apply_calibration()
    calibrated >> check_catalogs() >> make_release()


catalogs_dag = catalogs()
