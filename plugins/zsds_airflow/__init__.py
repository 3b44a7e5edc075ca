"""Airflow's own words for the night: timetable, outcomes of tasks, events of arriving files."""
