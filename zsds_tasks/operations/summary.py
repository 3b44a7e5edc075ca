"""A night's numbers as lines for the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zsds_tasks.lakehouse import Lakehouse

MEBIBYTE = 1 << 20


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
