"""Every week: compact the tables, drop old versions, remove what nothing needs any more."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import PROCESSING_POOL


@task
@step
def maintain() -> dict[str, object]:
    """Bring small files together, vacuum, tidy; rows and releases stay as they are."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import upkeep

    return upkeep.maintain(open_lakehouse(), pendulum.now("UTC")).as_dict()


@dag(
    schedule="@weekly",
    start_date=pendulum.datetime(2017, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=RETRY_POLICY | {"pool": PROCESSING_POOL},
    tags=["zsds", "maintenance"],
    doc_md=__doc__,
)
def maintenance() -> None:
    """Upkeep of the lakehouse."""
    maintain()


maintenance_dag = maintenance()
