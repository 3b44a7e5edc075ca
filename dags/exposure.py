"""Each time raw frames have been taken in: bring the exposures that are ready from raw counts to alerts."""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, get_current_context, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import HOT_PATH_POOL, PROCESSING_POOL, raw_archived


def exposure_of_this_run() -> list[int] | None:
    """Return the exposure that the parameter names; None means all."""
    expid = get_current_context()["params"]["expid"]
    return [int(expid)] if expid else None


@task
@step
def process() -> dict[str, object]:
    """Calibrate what is ready and subtract references, over Ray; build tonight's masters where missing."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps import exposure as step_exposure

    settings = load_settings()
    return step_exposure.process_waiting(
        open_lakehouse(settings), settings, pendulum.now("UTC"), expids=exposure_of_this_run()
    ).as_dict()


@task(trigger_rule="none_failed")  # what an earlier run left undone is due though nothing was to be processed
@step
def make_alerts() -> dict[str, object]:
    """Name and pack the candidates that trigger; packets wait in the outbox."""
    from zsds_tasks.lakehouse import open_lakehouse
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts import run

    settings = load_settings()
    return run.make_alerts(open_lakehouse(settings), settings, expids=exposure_of_this_run()).as_dict()


@task(pool=PROCESSING_POOL, trigger_rule="none_failed")
@step
def send_alerts() -> dict[str, object]:
    """Deliver the outbox; skipped without a broker."""
    from zsds_tasks.settings import load_settings
    from zsds_tasks.steps.alerts.send import send_alerts as deliver

    return deliver(load_settings())


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
    """Raw frames to images, catalogues, differences and alerts."""
    process() >> make_alerts() >> send_alerts()


exposure_dag = exposure()
