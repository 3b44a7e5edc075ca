"""Difference-image light curves: the alerts of each object as one row, for those who read light curves."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_near
from zsds_tasks.products.tables import load_table, row_schema
from zsds_tasks.steps.alerts.names import ALERTS, OBJECTS

CURVES: Final = "difference_lightcurves"
REACH_ARCSEC: Final = 5.0
"""Farther than the radius of association, within which all alerts of an object lie."""


@dataclasses.dataclass(frozen=True)
class AlertCurvesSummary:
    """What came of gathering the light curves of a night's objects.

    Parameters
    ----------
    objects, epochs : int
        That alerted in the night; all their alerts, of other nights as well.
    is_new : bool
        Whether any row changed.
    """

    objects: int
    epochs: int
    is_new: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self)


def gather_alert_curves(lakehouse: Lakehouse, night: str | None = None) -> AlertCurvesSummary:
    """Write the light curves of objects, from the alerts of all nights.

    A row is a function of the rows of `alerts` alone: nights may come in any order, and twice.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str, optional
        YYYYMMDD: objects that alerted in it; by default those whose light curve lacks an alert.

    Raises
    ------
    TransientError
        If the storage or other writers are in the way.
    """
    where = None if night is None else {"night": night}
    tonight = lakehouse.table(ALERTS).read(["objectid", "ra", "dec"], where)
    if night is None:
        tonight = _behind(lakehouse, tonight)
    if not tonight.num_rows:
        return AlertCurvesSummary(0, 0, is_new=False)
    names = set(tonight["objectid"].to_pylist())
    places = (tonight["ra"].to_numpy(), tonight["dec"].to_numpy())
    epochs = row_schema(load_table(CURVES)).field("lightcurve").type
    columns = ("objectid", *(field.name for field in epochs))
    alerts: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in read_near(lakehouse.table(ALERTS), *places, REACH_ARCSEC, columns).to_pylist():
        if row["objectid"] in names:
            alerts[row["objectid"]].append(row)
    objects = read_near(lakehouse.table(OBJECTS), *places, REACH_ARCSEC, ["objectid", "ra", "dec"])
    rows = [
        _row(row, alerts[row["objectid"]], epochs) for row in objects.to_pylist() if row["objectid"] in names
    ]
    commit = lakehouse.table(CURVES).merge(rows)
    return AlertCurvesSummary(len(rows), sum(row["nepochs"] for row in rows), commit.version is not None)


def _behind(lakehouse: Lakehouse, alerts: pa.Table) -> pa.Table:
    """Return the alerts of objects that have another number of them than their light curve."""
    known = lakehouse.table(CURVES).read(["objectid", "nepochs"])
    epochs = dict(zip(known["objectid"].to_pylist(), known["nepochs"].to_pylist(), strict=True))
    counts = {row["values"]: row["counts"] for row in alerts["objectid"].value_counts().to_pylist()}
    behind = [name for name, count in counts.items() if epochs.get(name) != count]
    return alerts.filter(pc.is_in(alerts["objectid"], pa.array(behind, pa.string())))


def _row(place: dict[str, Any], alerts: list[dict[str, Any]], epochs: pa.StructType) -> dict[str, Any]:
    ordered = sorted(alerts, key=lambda row: (row["jd"], row["candid"]))
    return place | {
        "nepochs": len(ordered),
        "firstjd": ordered[0]["jd"],
        "lastjd": ordered[-1]["jd"],
        "lightcurve": {field.name: [row[field.name] for row in ordered] for field in epochs},
    }
