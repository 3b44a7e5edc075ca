"""The newest survey-wide calibration, as table survey_offsets keeps it."""

from __future__ import annotations

from zsds_tasks.lakehouse import Lakehouse

OFFSETS = "survey_offsets"
Key = tuple[int, int, int]


def newest_solution(lakehouse: Lakehouse) -> int:
    """Return the number of the newest solution; 0 before the first."""
    found = lakehouse.table(OFFSETS).read(["solution"])["solution"].to_pylist()
    return max(found, default=0)


def newest_offsets(lakehouse: Lakehouse) -> dict[Key, float]:
    """Return what the newest solution adds to the magnitudes of each unit (field, fid, rcid); mag."""
    newest = newest_solution(lakehouse)
    if not newest:
        return {}
    columns = ["field", "fid", "rcid", "offset_mag"]
    rows = lakehouse.table(OFFSETS).read(columns, {"solution": newest}).to_pylist()
    return {(row["field"], row["fid"], row["rcid"]): row["offset_mag"] for row in rows}
