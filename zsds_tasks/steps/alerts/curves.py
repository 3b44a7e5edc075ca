"""Difference-image light curves: the alerts of each object as one row, for those who read light curves."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_near
from zsds_tasks.products.nested import flat_nested
from zsds_tasks.products.tables import row_schema
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
        That were looked at; all their alerts, of other nights as well.
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
        YYYYMMDD: objects that alerted in it; by default all whose light curve is not of their alerts.

    Raises
    ------
    TransientError
        If the storage or other writers are in the way.
    """
    where = None if night is None else {"night": night}
    tonight = lakehouse.table(ALERTS).read(["objectid", "candid", "ra", "dec"], where)
    gone: list[str] = []
    if night is None:
        tonight, gone = _behind(lakehouse, tonight)
    names = set(tonight["objectid"].to_pylist())
    rows = _rows(lakehouse, tonight, names) if names else []
    curves = lakehouse.table(CURVES)
    is_new = curves.merge(rows).version is not None
    if gone:
        is_new |= curves.replace([], {"objectid": gone}).version is not None
    return AlertCurvesSummary(len(rows), sum(row["nepochs"] for row in rows), is_new)


def _behind(lakehouse: Lakehouse, alerts: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return the alerts of objects whose light curve is not of these, and light curves without any left."""
    there: dict[str, set[int]] = {}
    for name, candid in zip(alerts["objectid"].to_pylist(), alerts["candid"].to_pylist(), strict=True):
        there.setdefault(name, set()).add(candid)
    known = lakehouse.table(CURVES).read(["objectid", "lightcurve"])
    offsets, flat = flat_nested(known, "lightcurve", ("candid",))
    names = known["objectid"].to_pylist()
    here = {name: set(flat["candid"][offsets[n] : offsets[n + 1]].tolist()) for n, name in enumerate(names)}
    behind = [name for name, candids in there.items() if here.get(name) != candids]
    gone = sorted(set(here) - set(there))
    return alerts.filter(pc.is_in(alerts["objectid"], pa.array(behind, pa.string()))), gone


def _rows(lakehouse: Lakehouse, tonight: pa.Table, names: set[str]) -> list[dict[str, Any]]:
    """Return the light curves of objects, some of whose alerts are given."""
    places = (tonight["ra"].to_numpy(), tonight["dec"].to_numpy())
    epochs = row_schema(lakehouse.table(CURVES).declaration).field("lightcurve").type
    columns = ("objectid", *(field.name for field in epochs))
    alerts: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in read_near(lakehouse.table(ALERTS), *places, REACH_ARCSEC, columns).to_pylist():
        if row["objectid"] in names:
            alerts[row["objectid"]].append(row)
    objects = read_near(lakehouse.table(OBJECTS), *places, REACH_ARCSEC, ["objectid", "ra", "dec"])
    return [
        _row(row, alerts[row["objectid"]], epochs) for row in objects.to_pylist() if row["objectid"] in names
    ]


def _row(place: dict[str, Any], alerts: list[dict[str, Any]], epochs: pa.StructType) -> dict[str, Any]:
    ordered = sorted(alerts, key=lambda row: (row["jd"], row["candid"]))
    return place | {
        "nepochs": len(ordered),
        "firstjd": ordered[0]["jd"],
        "lastjd": ordered[-1]["jd"],
        "lightcurve": {field.name: [row[field.name] for row in ordered] for field in epochs},
    }
