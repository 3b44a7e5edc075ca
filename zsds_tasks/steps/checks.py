"""Check a night: run every table's expectations on the night's rows, record what came of them, show them.

A failed warning is recorded and shown. A failed critical expectation does the same and then raises, so that
what depends on the tables does not run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, paths
from zsds_tasks.lakehouse.checks import Finding, TableCheck, check_rows
from zsds_tasks.lakehouse.datadocs import INDEX, data_docs, verdict
from zsds_tasks.lakehouse.suites import Suite, handwritten_suite
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.settings import Settings, load_settings
from zsds_tasks.steps.night_rows import NIGHT, Rows, rows_of_night
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD, load_camera
from zsds_tasks.survey.nights import ObservingNight, mjd
from zsds_tasks.survey.survey import load_survey

RESULTS = "check_results"
_FOOTPRINT_MARGIN = 1.02  # pixel scale and rotator are nominal in raw rows
_NAMED_IN_ERRORS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckSummary:
    """What came of checking a night."""

    night: str
    tables: tuple[TableCheck, ...]
    page: str
    """Index of the Data Docs, under the archive's root."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, over all tables."""
        return tuple(finding for check in self.tables for finding in check.findings)

    @property
    def total(self) -> int:
        """How many expectations were evaluated."""
        return len(self.findings)

    @property
    def passed(self) -> int:
        """How many hold."""
        return sum(finding.success for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return {
            "night": self.night,
            "tables": len(self.tables),
            "checks": self.total,
            "passed": self.passed,
            "critical": [f"{table}: {f.expected.description}" for table, f in self.failed("critical")],
            "warnings": [f"{table}: {f.expected.description}" for table, f in self.failed("warning")],
            "page": self.page,
        }

    def failed(self, severity: str) -> tuple[tuple[str, Finding], ...]:
        """Return (table, finding) of the expectations of a severity that do not hold."""
        return tuple(
            (check.table, finding)
            for check in self.tables
            for finding in check.failed
            if finding.expected.severity == severity
        )


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
    checks = [_check_table(lakehouse, table, rows, constants) for table in _tables(lakehouse, rows)]
    if not checks:
        raise NothingToDoError(f"no table has rows of night {night}", subject=RESULTS)
    summary = CheckSummary(night, tuple(checks), paths.report(night, f"checks/{INDEX}"))
    lakehouse.table(RESULTS).replace(_result_rows(summary), {NIGHT: night})
    for name, content in data_docs(night, checks).items():
        lakehouse.storage.put_bytes_atomically(content.encode(), paths.report(night, f"checks/{name}"))
    logger.info("night %s: %s", night, verdict(summary.findings))
    _raise_if_critical(lakehouse, summary)
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


def _result_rows(summary: CheckSummary) -> list[dict[str, Any]]:
    return [
        {
            NIGHT: summary.night,
            "table_name": check.table,
            "table_version": check.version,
            "expectation_id": finding.expected.id,
            "expectation": finding.expected.type,
            "column_name": finding.expected.column,
            "sentence": finding.expected.description,
            "severity": finding.expected.severity,
            "origin": finding.expected.origin,
            "success": finding.success,
            "rows": finding.rows,
            "unexpected": finding.unexpected,
            "observed": finding.observed,
        }
        for check in summary.tables
        for finding in check.findings
    ]


def _raise_if_critical(lakehouse: Lakehouse, summary: CheckSummary) -> None:
    critical: Sequence[tuple[str, Finding]] = summary.failed("critical")
    if not critical:
        return
    named = "; ".join(
        f"{table}: {finding.expected.description} ({finding.observed})"
        for table, finding in critical[:_NAMED_IN_ERRORS]
    )
    if len(critical) > _NAMED_IN_ERRORS:
        named += f"; and {len(critical) - _NAMED_IN_ERRORS} more"
    raise UnusableInputError(
        f"{len(critical)} critical expectation{'s' if len(critical) > 1 else ''} failed: {named}",
        subject=f"night {summary.night}",
        remedy=f"read {lakehouse.storage.uri(summary.page)}, mend the rows, and check again",
    )
