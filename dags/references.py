"""Every day: build the reference images for which there are epochs enough, or clearly better ones."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import HOT_PATH_POOL


@task
@step
def build_references() -> dict[str, object]:
    """Stack epochs, measure the co-adds, write files and rows; one that fails says why in its row."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import references

    settings = load_settings()
    return references.build_references(open_lakehouse(settings), settings, pendulum.now("UTC")).as_dict()


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
    """Calibrated epochs to reference images."""
    build_references()


references_dag = references()
