"""What the report says of differences, candidates and alerts, read from the lakehouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.checks import to_pandas
from zsds_tasks.science.candidates.detect import DetectConfig
from zsds_tasks.steps.report.gather import NightFacts

_IMAGE = (
    *("pid", "expid", "rcid", "obsjd", "field", "fid", "status", "stage", "reason", "diffmaglim"),
    *("gain_over_zero_points", "registration_px", "score_scatter", "star_residual", "n_positive"),
    *("n_negative", "path", "products"),
)
_CANDIDATE = ("candid", "pid", "expid", "rcid", "scorr", "snr", "rb", "drb", "isdiffpos", "fwhm", "nbad")
ALERT = (
    *("objectid", "candid", "pid", "jd", "fid", "field", "rcid", "isdiffpos", "magpsf", "sigmapsf"),
    *("scorr", "drb", "rb", "ndethist"),
)
"""Columns of a row of `alert_rows`, besides the filter's name."""


@dataclass(frozen=True)
class AlertFacts:
    """The differences of a night and what was found in them.

    Parameters
    ----------
    night : NightFacts
    images : pandas.DataFrame
        Rows of `difference_images` in order of time; at least one.
    candidates : pandas.DataFrame
        Rows of `candidates` over the threshold of alerts.
    alerts : pandas.DataFrame
        Rows of `alerts`, the most trustworthy first: by drb, where there is none by rb, then by scorr.
    """

    night: NightFacts
    images: pd.DataFrame
    candidates: pd.DataFrame
    alerts: pd.DataFrame

    @property
    def good(self) -> pd.DataFrame:
        """Images whose candidates may be used."""
        return self.images[self.images["status"] == 1]


def gather_alerts(lakehouse: Lakehouse, night: NightFacts) -> AlertFacts | None:
    """Read the rows of a night; the versions of the tables read are added to its own.

    Returns
    -------
    AlertFacts or None
        None if nothing was subtracted.
    """
    images = _frame(_read(lakehouse, night, "difference_images", _IMAGE))
    if images.empty:
        return None
    found = _read(lakehouse, night, "candidates", _CANDIDATE)
    least = pa.scalar(DetectConfig().threshold_sigma, pa.float32())
    candidates = _frame(found.filter(pc.greater_equal(found["scorr"], least)))
    alerts = _frame(_read(lakehouse, night, "alerts", ALERT))
    ordered = alerts.sort_values(["drb", "rb", "scorr"], ascending=False, na_position="last")
    return AlertFacts(
        night,
        images.sort_values(["obsjd", "rcid"], ignore_index=True),
        candidates,
        ordered.reset_index(drop=True),
    )


def alert_rows(lakehouse: Lakehouse, night: str, *, most: int | None = None) -> list[dict[str, Any]]:
    """Return the alerts of a night for a person to read.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        YYYYMMDD.
    most : int, optional
        At most so many, the most trustworthy.

    Returns
    -------
    list of dict
        Columns `ALERT`, of which drb and rb are None without a model; the most trustworthy first: by drb,
        then rb, then scorr. Empty for a night without alerts.
    """
    table = lakehouse.table("alerts")
    if not table.exists():
        return []
    rows: list[dict[str, Any]] = table.read(ALERT, {"night": night}).to_pylist()

    def trust(row: dict[str, Any]) -> tuple[float, ...]:
        return tuple(-1.0 if row[name] is None else row[name] for name in ("drb", "rb", "scorr"))

    return sorted(rows, key=trust, reverse=True)[:most]


def _read(lakehouse: Lakehouse, night: NightFacts, name: str, columns: tuple[str, ...]) -> pa.Table:
    table = lakehouse.table(name)
    version = table.version()
    if version is None:
        return table.read(columns)
    night.versions[name] = version
    return table.read(columns, where={"night": str(night.night)}, version=version)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return a frame whose columns of numbers are numbers even where all of them are null."""
    frame = to_pandas(table)
    for field in table.schema:
        if pa.types.is_floating(field.type):
            frame[field.name] = frame[field.name].astype("float64")
    return frame
