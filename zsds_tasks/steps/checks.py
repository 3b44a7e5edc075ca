"""Check a night: every table's expectations on its rows, its measures against earlier nights.

A failed warning is recorded and shown. A failed critical expectation does the same and then raises, so that
what depends on the tables does not run.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse, paths
from zsds_tasks.lakehouse.checks import TableCheck, check_rows
from zsds_tasks.lakehouse.datadocs import INDEX, verdict
from zsds_tasks.lakehouse.findings import with_findings
from zsds_tasks.lakehouse.suites import Suite, handwritten_suite
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.settings import Settings, load_settings
from zsds_tasks.steps.check_results import RESULTS, CheckSummary, raise_if_critical, record
from zsds_tasks.steps.drift import drift_findings
from zsds_tasks.steps.night_rows import Rows, rows_of_night
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD, load_camera
from zsds_tasks.survey.nights import ObservingNight, mjd
from zsds_tasks.survey.survey import load_survey

__all__ = ["CheckSummary", "check_night", "survey_constants"]

_FOOTPRINT_MARGIN = 1.02  # pixel scale and rotator are nominal in raw rows

logger = logging.getLogger(__name__)


def check_night(lakehouse: Lakehouse, night: str, *, settings: Settings | None = None) -> CheckSummary:
    """Check the rows of one night in every table that has any, and those of others that they rest on.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        Observing night, YYYYMMDD.
    settings : Settings, optional
        Name the camera whose facts the suites use; by default those of the environment.

    Returns
    -------
    CheckSummary

    Raises
    ------
    NothingToDoError
        If no table has rows of this night.
    UnusableInputError
        If a critical expectation fails; results and pages are written first.
    """
    night = str(ObservingNight.parse(night))
    constants = survey_constants(lakehouse, night, settings or load_settings())
    rows = rows_of_night(lakehouse, night, without=RESULTS)
    drift = drift_findings(lakehouse, night)
    checks = [
        with_findings(_check_table(lakehouse, table, rows, constants), drift.get(table.name, ()))
        for table in _tables(lakehouse, rows)
    ]
    if not checks:
        raise NothingToDoError(f"no table has rows of night {night}", subject=RESULTS)
    summary = CheckSummary(night, tuple(checks), paths.report(night, f"checks/{INDEX}"))
    record(lakehouse, summary)
    logger.info("night %s: %s", night, verdict(summary.findings))
    raise_if_critical(lakehouse, summary)
    return summary


def survey_constants(lakehouse: Lakehouse, night: str, settings: Settings) -> dict[str, Any]:
    """Return what relations in suites may name besides columns, from the camera's and survey's declarations.

    Parameters
    ----------
    lakehouse : Lakehouse
        Its include folder is read.
    night : str
        Observing night, YYYYMMDD.
    settings : Settings
        Names the camera.

    Returns
    -------
    dict
        MJDs (days, UTC), angles (degrees), codes.
    """
    camera = load_camera(settings.camera, lakehouse.include)
    survey = load_survey(camera.survey, lakehouse.include)
    start, end = ObservingNight.parse(night).bounds(camera.site.noon_utc_hour)
    zero, _ = ObservingNight(survey.night_zero).bounds(0)
    return {
        "night_start_mjd": mjd(start),
        "night_end_mjd": mjd(end),
        "night_zero_mjd": mjd(zero),
        "quadrants_per_ccd": QUADRANTS_PER_CCD,
        "camera_radius_deg": float(np.hypot(*camera.half_size_arcsec)) / 3600 * _FOOTPRINT_MARGIN,
        "dark_filter_code": survey.dark_filter_code,
        "dark_types": tuple(t.code for t in survey.image_types if t.dark),
        "science_types": tuple(t.code for t in survey.image_types if t.science),
        "science_programs": tuple(p.id for p in survey.programs if p.science),
    }


def _tables(lakehouse: Lakehouse, rows: Rows) -> list[Table]:
    return [lakehouse.table(name) for name, (_, found) in rows.items() if found.num_rows]


def _check_table(lakehouse: Lakehouse, table: Table, rows: Rows, constants: dict[str, Any]) -> TableCheck:
    suite: Suite = handwritten_suite(table.name, lakehouse.include)
    version, found = rows[table.name]
    return check_rows(
        found,
        table.declaration,
        suite,
        version=version,
        constants=constants,
        others={name: other for name, (_, other) in rows.items()},
    )
