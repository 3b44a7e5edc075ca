"""A night's numbers as lines for the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.releases import latest_release
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.score_candidates import alert_truth, really
from zsds_tasks.steps.report.alerts_data import alert_rows
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, ObservingNight, from_mjd
from zsds_tasks.survey.survey import load_survey

MEBIBYTE = 1 << 20
MOST_ALERTS = 40
ALERT_HEADINGS = ("name", "candid", "UT", "field", "magnitude", "drb", "rb", "seen", "truth")


def summary_lines(summary: Mapping[str, Any]) -> dict[str, object]:
    """Return the numbers of `night_summary` as names and sentences for the console."""

    def counted(numbers: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in numbers.items())

    filters = counted(summary["science_by_filter"])
    calibration, refused = counted(summary["calibration"]), counted(summary["quarantined_by_code"])
    passed, warnings = summary["checks_passed"], summary["checks_warning"]
    return {
        "exposures": f"{summary['exposures']}, of which {summary['incomplete']} lack a CCD",
        "science": f"{summary['science']} of {summary['fields']} fields ({filters})",
        "calibration": f"{calibration or 'none'}; {summary['engineering']} engineering frames",
        "raw files": f"{summary['files']} archived, {summary['bytes'] / MEBIBYTE:.0f} MiB",
        "quarantined": f"{summary['quarantined']} files" + (f" ({refused})" if refused else ""),
        "checks": f"{passed} of {summary['checks']} hold; {summary['checks_critical']} critical failures, "
        f"{warnings} warnings",
    }


def alert_lines(lakehouse: Lakehouse, night: str) -> dict[str, object]:
    """Return what was subtracted and sent in a night, as names and sentences for the console."""

    def count(table: str, **where: object) -> int:
        source = lakehouse.table(table)
        return source.count(where) if source.exists() else 0

    made, usable = count("difference_images", night=night), count("difference_images", night=night, status=1)
    images, alerts = count("science_images", night=night, status=1), count("alerts", night=night)
    return {
        "references": f"{count('references', status=1)} usable of {count('references')}",
        "differences": f"{usable} usable of {made}; {images - made} images wait for a reference",
        "alerts": f"{alerts} of {count('candidates', night=night)} candidates",
    }


def catalog_lines(lakehouse: Lakehouse) -> dict[str, object]:
    """Return what the newest release holds, as names and sentences for the console."""
    release = latest_release(lakehouse.storage)
    if release is None:
        return {"release": "none yet"}
    tables = ", ".join(f"{table.rows:,} {name}" for name, table in sorted(release.tables.items()))
    again = f"; `zsds diff objects dr{release.previous} {release.name}`" if release.previous else ""
    return {"release": f"{release.name}: {tables}{again}"}


def alerts_tonight(lakehouse: Lakehouse, settings: Settings, night: ObservingNight) -> list[tuple[str, ...]]:
    """Return the alerts of a night under `ALERT_HEADINGS`, and what truth says of each."""
    rows = alert_rows(lakehouse, str(night))
    truth = alert_truth(lakehouse, settings.truth_folder, night, [row["candid"] for row in rows])
    survey = load_survey(load_camera(settings.camera, settings.include).survey, settings.include)

    def score(value: float | None) -> str:
        return "none" if value is None else f"{value:.2f}"

    return [
        (
            row["objectid"],
            str(row["candid"]),
            f"{from_mjd(row['jd'] - JD_OF_MJD_ZERO):%H:%M:%S}",
            f"{row['field']} {survey.filter_by_fid(row['fid']).name}",
            f"{row['magpsf']:.2f} ± {row['sigmapsf']:.2f} {'brighter' if row['isdiffpos'] else 'fainter'}",
            score(row["drb"]),
            score(row["rb"]),
            str(row["ndethist"]),
            really(truth[row["candid"]]) if row["candid"] in truth else "not known",
        )
        for row in rows
    ]
