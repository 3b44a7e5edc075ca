"""What the schedules need to know of this installation; light enough for the parsing of DAG files."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from zsds_airflow.arrivals import RawFilesArrived
from zsds_tasks.settings import load_settings
from zsds_tasks.survey.camera import load_camera

# Declared with their slots in include/config/airflow/pools.json, from which an installation creates them.
INGEST_POOL = "zsds_ingest"
PROCESSING_POOL = "zsds_processing"
HOT_PATH_POOL = "zsds_hot_path"


def noon_utc_hour() -> int:
    """Return the UT hour of noon at the site of the configured camera."""
    settings = load_settings()
    return load_camera(settings.camera, settings.include).site.noon_utc_hour


def incoming_raw() -> Asset:
    """Return the asset that stands for the incoming folder, watched by the triggerer."""
    watcher = AssetWatcher(
        name="raw_files_arrived", trigger=RawFilesArrived(str(load_settings().incoming_folder))
    )
    return Asset("raw_incoming", watchers=[watcher])


def raw_archived() -> Asset:
    """Return the asset that ingest updates when it has taken something in: it wakes the hot path."""
    return Asset("raw_archived")
