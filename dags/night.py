"""After each observing night: take in what is left, assess, check, publish, report. Backfills run this."""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, get_current_context, task

from zsds_airflow.outcomes import RETRY_POLICY, step
from zsds_airflow.rhythms import INGEST_POOL, PROCESSING_POOL, noon_utc_hour
from zsds_airflow.timetables import ObservingNightTimetable


def _night() -> str:
    """Return the night of this run, YYYYMMDD: the parameter where given, else the data interval's start."""
    context = get_current_context()
    return context["params"]["night"] or context["data_interval_start"].strftime("%Y%m%d")


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

    @task(pool=INGEST_POOL)
    @step
    def ingest_remaining() -> dict[str, object]:
        """Take in what still lies in the incoming folder."""
        from zsds_tasks.steps import raw

        return raw.ingest_rest_now()

    @task
    @step
    def assess_raw() -> dict[str, object]:
        """Measure every raw quadrant that has not been measured; skip the run if the night has no frames."""
        from zsds_tasks.steps import quality

        return quality.assess_night(_night())

    @task
    @step
    def check_tables() -> dict[str, object]:
        """Run the expectation suites on the night's rows."""
        from zsds_tasks.steps import checks

        return checks.check_night(_night())

    @task
    @step
    def publish_catalogs() -> dict[str, object]:
        """Publish the night's tables as HATS catalogues."""
        from zsds_tasks.steps import publish

        return publish.publish_tables()

    @task
    @step
    def score_against_truth() -> dict[str, object]:
        """Compare a simulated night with what was planted; skip a real one."""
        from zsds_tasks.simulator import score

        return score.score_night(_night())

    # The report is written whatever the checks say: it is where a failed night is read.
    @task(trigger_rule="all_done")
    @step
    def write_report() -> str:
        """Write the night's report."""
        from zsds_tasks.steps import report

        return report.write_report(_night())

    assessed = assess_raw()
    checked = check_tables()
    scored = score_against_truth()
    ingest_remaining() >> assessed >> [checked, scored]
    checked >> publish_catalogs()
    [checked, scored] >> write_report()


night_dag = night()
