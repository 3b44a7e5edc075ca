"""Register with Airflow what this folder defines. Airflow loads this file only (see .airflowignore)."""

from airflow.plugins_manager import AirflowPlugin

from zsds_airflow.timetables import ObservingNightTimetable


class ZsdsPlugin(AirflowPlugin):
    """The observing-night timetable."""

    name = "zsds"
    timetables = [ObservingNightTimetable]  # noqa: RUF012 - Airflow's declared shape
