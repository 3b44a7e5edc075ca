"""What the scheduler's workers import once, so that the tasks they fork begin with it.

A task is a fork of a worker of Airflow's LocalExecutor, and what its parent has imported costs it nothing.
Airflow's ``[scheduler] mp_start_method = forkserver`` keeps a process that has done nothing but import these
modules, and forks the workers from it.

Two rules, both tested. Libraries only, nothing of ours: a task runs the code that lies on the disk when it
starts. Only what bears a fork: deltalake, numba, pyarrow and the like do as long as they have been imported
and not used; Ray, Kafka and what starts threads when it is imported stay out.
"""

from __future__ import annotations

OF_AIRFLOW = (
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.decorators.python",
    "airflow.timetables.base",
    "airflow.triggers.base",
    "jinja2.ext",
)
LIBRARIES = (
    "astropy.io.fits",
    "astropy.io.votable.ucd",
    "deltalake",
    "erfa",
    "fastavro",
    "matplotlib.backends.backend_agg",
    "numba",
    "numpy.f2py",  # comes with scipy's array interface, whoever asks for it
    "pandas",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic_settings",
    "scipy.interpolate",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.spatial",
)


def preload_environment() -> dict[str, str]:
    """Return the settings by which Airflow's scheduler forks its workers from a process that has these."""
    return {
        "AIRFLOW__SCHEDULER__MP_START_METHOD": "forkserver",
        "AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD": ",".join((*OF_AIRFLOW, *LIBRARIES)),
    }
