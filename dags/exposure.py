"""Each time raw frames have been taken in: calibrate the exposures that are ready."""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, get_current_context, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import HOT_PATH_POOL, raw_archived


@task
@step
def process() -> dict[str, object]:
    """Calibrate what is ready and not done, over Ray; build tonight's masters where they are missing."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import exposure as step_exposure

    settings, expid = load_settings(), get_current_context()["params"]["expid"]
    return step_exposure.process_waiting(
        open_lakehouse(settings), settings, pendulum.now("UTC"), expids=[int(expid)] if expid else None
    ).as_dict()


@dag(
    schedule=[raw_archived()],
    start_date=pendulum.datetime(2017, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=RETRY_POLICY | {"pool": HOT_PATH_POOL},
    params={
        "expid": Param("", type="string", pattern="^[0-9]{0,10}$", description="one exposure; default: all")
    },
    tags=["zsds", "exposure"],
    doc_md=__doc__,
)
def exposure() -> None:
    """Raw frames to calibrated images and catalogues."""
    process()


exposure_dag = exposure()
