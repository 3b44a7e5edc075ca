"""Every day: build the references for which there are epochs enough; compare the images that waited."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import HOT_PATH_POOL, PROCESSING_POOL


@task
@step
def build_references() -> dict[str, object]:
    """Stack epochs, measure the co-adds, write files and rows; one that fails says why in its row."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.images import require_images

    settings = load_settings()
    require_images(open_lakehouse(settings))
    from zsds_tasks.steps import references

    return references.build_references(open_lakehouse(settings), settings, pendulum.now("UTC")).as_dict()


@task(pool=PROCESSING_POOL, trigger_rule="none_failed")  # not the hot path's: tonight's exposures go first
@step
def subtract_references() -> dict[str, object]:
    """Make the difference images, of whatever night, that waited for a reference or have an older version."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.images import require_images

    settings = load_settings()
    require_images(open_lakehouse(settings))
    from zsds_tasks.steps import difference

    return difference.subtract_references(open_lakehouse(settings), settings).as_dict()


@task(pool=PROCESSING_POOL, trigger_rule="none_failed")
@step
def make_alerts() -> dict[str, object]:
    """Name and pack what was found in images that have not alerted yet; gather the light curves of alerts."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.images import require_images

    settings = load_settings()
    require_images(open_lakehouse(settings))
    from zsds_tasks.steps.alerts import run
    from zsds_tasks.steps.alerts.curves import gather_alert_curves

    lakehouse = open_lakehouse(settings)
    made = run.make_alerts(lakehouse, settings).as_dict()
    return made | {"curves": gather_alert_curves(lakehouse).as_dict()}


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2017, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=RETRY_POLICY | {"pool": HOT_PATH_POOL},
    tags=["zsds", "references"],
    doc_md=__doc__,
)
def references() -> None:
    """Calibrated epochs to reference images, and what they show in images that waited."""
    build_references() >> subtract_references() >> make_alerts()


references_dag = references()
