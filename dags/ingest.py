"""Every minute, or as soon as raw files arrive: check, archive and register them."""

from __future__ import annotations

import pendulum
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import INGEST_POOL, incoming_raw, raw_archived


@task(outlets=[raw_archived()])
@step
def ingest_raw() -> dict[str, object]:
    """Take in every complete file and wake the hot path; skip when there is none."""
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.incoming import require_files

    settings = load_settings()
    require_files(settings.incoming_folder)
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.steps import raw

    return raw.ingest(open_lakehouse(settings), settings, pendulum.now("UTC")).as_dict()


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("* * * * *", timezone="UTC"), assets=[incoming_raw()]
    ),
    start_date=pendulum.datetime(2017, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=RETRY_POLICY | {"pool": INGEST_POOL},
    tags=["zsds", "raw"],
    doc_md=__doc__,
)
def ingest() -> None:
    """Raw ingest."""
    ingest_raw()


ingest_dag = ingest()
