"""Drift: is a night like the nights before it? Medians of its measures, filter by filter, against theirs.

What differs is a warning: a new Moon, another field or another detector setting explains some of it. The
nights before are read again each time: what is found depends on the tables alone and not on earlier checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.checks import Finding
from zsds_tasks.lakehouse.suites import Expected, expectations_folder
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, ObservingNight, mjd

DRIFT = "expect_night_to_be_like_those_before"
MAD_TO_SIGMA = 1.4826
NIGHT, FID, STATUS, TIME = "night", "fid", "status", "obsjd"
Floats = NDArray[np.float64]


class Measure(Declaration):
    """One number of a night and filter."""

    name: str = Field(pattern=r"^[a-z_]+$")
    words: str = Field(description="what it is, at the beginning of a sentence")
    table: str = Field(description="one row for each image, with night, obsjd, fid and status")
    column: str
    plus: str | None = Field(None, description="another column, added")
    unit: str = ""
    statistic: Literal["median", "mean"] = "median"
    usable_only: bool = Field(True, description="of images with status 1 only")
    floor: Annotated[float, Field(gt=0)] = Field(
        description="scatter between nights that is taken as usual even where it was less, in the unit"
    )
    floor_fraction: Annotated[float, Field(ge=0)] = Field(
        0.0, description="the same as a fraction of the usual value"
    )


class DriftConfig(Declaration):
    """What is compared; ``include/expectations/drift.yaml``."""

    nights: Annotated[int, Field(ge=1)] = Field(description="earlier nights compared with, the last ones")
    least_nights: Annotated[int, Field(ge=2)] = Field(description="with fewer, nothing is said")
    window_days: Annotated[float, Field(gt=0)] = Field(description="nights before that are not looked at")
    sigmas: Annotated[float, Field(gt=0)] = Field(description="scatters between nights that are drift")
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Usual:
    """What a measure was in the nights before.

    Parameters
    ----------
    value : float
        Median over nights.
    scatter : float
        1.4826 times the median distance from it; no less than the floor.
    nights : int
    """

    value: float
    scatter: float
    nights: int


def load_drift_config(include: Path) -> DriftConfig:
    """Read ``<include>/expectations/drift.yaml``."""
    return read_declaration(expectations_folder(include) / "drift.yaml", DriftConfig)


def usual(values: Floats, measure: Measure) -> Usual:
    """Return what a measure usually is, from its values in earlier nights (n)."""
    middle = float(np.median(values))
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
    return Usual(middle, max(scatter, measure.floor, measure.floor_fraction * abs(middle)), len(values))


def drift_findings(
    lakehouse: Lakehouse, night: str, config: DriftConfig | None = None
) -> dict[str, list[Finding]]:
    """Compare a night with those before it.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        YYYYMMDD.
    config : DriftConfig, optional
        By default that of the include folder.

    Returns
    -------
    dict of list of Finding
        By table; a finding for each measure and filter of the night that enough earlier nights have too.
    """
    config = config or load_drift_config(lakehouse.include)
    found: dict[str, list[Finding]] = {}
    for table in dict.fromkeys(measure.table for measure in config.measures):
        measures = [measure for measure in config.measures if measure.table == table]
        rows = _rows(lakehouse, table, night, measures, config)
        findings = [finding for measure in measures for finding in _of_measure(rows, night, measure, config)]
        if findings:
            found[table] = findings
    return found


def _rows(
    lakehouse: Lakehouse, table: str, night: str, measures: list[Measure], config: DriftConfig
) -> pa.Table:
    """Return the rows of the night and of those before it, within the window."""
    end = mjd(ObservingNight.parse(night).bounds(0)[1]) + JD_OF_MJD_ZERO + 1.0  # wherever noon is
    columns = {NIGHT, FID, STATUS} | {m.column for m in measures} | {m.plus for m in measures if m.plus}
    rows = lakehouse.table(table).read(sorted(columns), {TIME: (end - config.window_days, end)})
    return rows.filter(pc.less_equal(rows[NIGHT], night))


def _of_measure(rows: pa.Table, night: str, measure: Measure, config: DriftConfig) -> list[Finding]:
    if measure.usable_only:
        rows = rows.filter(pc.equal(rows[STATUS], 1))
    values = _floats(rows, measure.column) + (_floats(rows, measure.plus) if measure.plus else 0.0)
    nights, fid = rows[NIGHT].to_numpy(zero_copy_only=False), rows[FID].to_numpy()
    of = np.median if measure.statistic == "median" else np.mean
    findings = []
    for number in np.unique(fid[nights == night]).tolist():
        known = np.isfinite(values) & (fid == number)
        each = {n: float(of(values[known & (nights == n)])) for n in np.unique(nights[known]).tolist()}
        now = each.pop(night, None)
        before = np.array([each[n] for n in sorted(each)[-config.nights :]])
        if now is None or len(before) < config.least_nights:
            continue
        images = int(np.sum(known & (nights == night)))
        findings.append(_finding(measure, number, now, usual(before, measure), images, config.sigmas))
    return findings


def _finding(measure: Measure, fid: int, now: float, before: Usual, images: int, sigmas: float) -> Finding:
    expected = Expected(
        type=DRIFT,
        kwargs={"measure": measure.name, "filter": fid, "column": measure.column},
        severity="warning",
        description=f"{measure.words} in filter {fid} is like that of the nights before",
        origin="comparison",
    )
    distance = abs(now - before.value) / before.scatter
    if distance <= sigmas:
        return Finding(expected, success=True, rows=images, unexpected=0, observed=None)
    unit = f" {measure.unit}" if measure.unit else ""
    observed = (
        f"{now:.4g}{unit}, {distance:.1f} scatters from {before.value:.4g}{unit}, "
        f"the median of {before.nights} nights before"
    )
    return Finding(expected, success=False, rows=images, unexpected=images, observed=observed)


def _floats(rows: pa.Table, name: str) -> Floats:
    return np.asarray(rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
