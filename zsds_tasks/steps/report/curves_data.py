"""What the report says of light curves, read from the lakehouse: how well stars repeat, and which vary."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.nested import flat_nested
from zsds_tasks.science.variability.period_config import SUREST_FALSE_ALARM
from zsds_tasks.steps.report.gather import NightFacts

Floats = NDArray[np.float64]
Unit = tuple[int, int, int]
MOST_UNITS, LEAST_EPOCHS = 64, 4
"""Units looked at, those with the most images first; epochs under which a scatter says nothing."""
MOST_VARIABLES = 6
_OBJECT = (
    *("objectid", "ra", "dec", "members", "variability", "period", "period_amplitude", "log_false_alarm"),
    *("is_suspect", "alias_periods", "alert_name"),
)


@dataclass(frozen=True)
class Repeatability:
    """Scatter of stars about their means, a row for each light curve.

    Parameters
    ----------
    fid : numpy.ndarray (n), int64
    mag : numpy.ndarray (n), float64
        Mean magnitude.
    before, after : numpy.ndarray (n), float64, mag
        Standard deviation with the zero points of the images, and with the offsets of light curves.
    error : numpy.ndarray (n), float64, mag
        Root mean square of the errors that the epochs state.
    """

    fid: NDArray[np.int64]
    mag: Floats
    before: Floats
    after: Floats
    error: Floats


@dataclass(frozen=True)
class Curve:
    """One light curve, clean epochs only.

    Parameters
    ----------
    fid : int
    hmjd, mag, magerr : numpy.ndarray, float64
    """

    fid: int
    hmjd: Floats
    mag: Floats
    magerr: Floats


@dataclass(frozen=True)
class CurveFacts:
    """The light curves that the night has added to.

    Parameters
    ----------
    night : NightFacts
    units : int
        With images of the night.
    stars, epochs : int
        Of those units, over all nights.
    offsets : dict of str to numpy.ndarray
        offset_mag, scatter_before, scatter_after of the night's images.
    repeat : Repeatability
    variables : list of (dict, list of Curve)
        Rows of `objects`, what varies most surely first.
    """

    night: NightFacts
    units: int
    stars: int
    epochs: int
    offsets: dict[str, Floats]
    repeat: Repeatability
    variables: list[tuple[dict[str, Any], list[Curve]]]


def gather_curves(lakehouse: Lakehouse, night: NightFacts) -> CurveFacts | None:
    """Read the light curves of the units that have images of a night.

    Returns
    -------
    CurveFacts or None
        None if the night has none.
    """
    if not lakehouse.table("lightcurves").exists():
        return None
    images = lakehouse.table("science_images").read(
        ["pid", "field", "fid", "rcid"], {"night": str(night.night), "status": 1}
    )
    per_unit: dict[Unit, list[int]] = defaultdict(list)
    for row in images.to_pylist():
        per_unit[row["field"], row["fid"], row["rcid"]].append(row["pid"])
    made = lakehouse.table("matched_units").read(["field", "fid", "rcid", "stars", "epochs"]).to_pylist()
    units = [row for row in made if (row["field"], row["fid"], row["rcid"]) in per_unit]
    if not units:
        return None
    units.sort(key=lambda row: (-row["epochs"], row["field"], row["fid"], row["rcid"]))
    shown = [(row["field"], row["fid"], row["rcid"]) for row in units[:MOST_UNITS]]
    return CurveFacts(
        night=night,
        units=len(units),
        stars=sum(row["stars"] for row in units),
        epochs=sum(row["epochs"] for row in units),
        offsets=_offsets(lakehouse, per_unit),
        repeat=_repeatability(lakehouse, shown),
        variables=_variables(lakehouse, set(shown)),
    )


def _offsets(lakehouse: Lakehouse, per_unit: dict[Unit, list[int]]) -> dict[str, Floats]:
    names = ("offset_mag", "scatter_before", "scatter_after")
    where = {"field": sorted({field for field, _, _ in per_unit})}
    rows = lakehouse.table("photometric_offsets").read(("pid", *names), where)
    pids = [pid for images in per_unit.values() for pid in images]
    rows = rows.filter(pa.array(np.isin(rows["pid"].to_numpy(), pids)))
    return {name: _floats(rows.column(name)) for name in names}


def _repeatability(lakehouse: Lakehouse, units: list[Unit]) -> Repeatability:
    parts: list[tuple[NDArray[Any], ...]] = []
    by_filter: dict[tuple[int, int], list[int]] = defaultdict(list)
    for field, fid, rcid in units:
        by_filter[field, fid].append(rcid)
    for (field, fid), rcids in by_filter.items():
        where = {"fieldid": field, "filterid": fid, "rcid": rcids}
        table = lakehouse.table("lightcurves").read(("objectid", "lightcurve"), where)
        rows = lakehouse.table("epochs").read(
            ("objectid", "mag", "catflags"), {"field": field, "fid": fid, "rcid": rcids}
        )
        parts.append((np.full(table.num_rows, fid), *_scatters(table, rows)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    keep = np.isfinite(columns[2]) & np.isfinite(columns[3])
    return Repeatability(*(column[keep] for column in columns))


def _scatters(curves: pa.Table, epochs: pa.Table) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, scatter before and after, and stated error of each light curve."""
    star, _, mag, error = flattened(curves)
    count = curves.num_rows
    n = np.bincount(star, minlength=count)
    mean, after = _moments(star, mag, count)
    stated = np.sqrt(np.bincount(star, error**2, count) / np.maximum(n, 1))
    clean = epochs.filter(pa.array(epochs["catflags"].to_numpy() == 0))
    objectid = curves["objectid"].to_numpy()
    order = np.argsort(objectid, kind="stable")
    place = np.searchsorted(objectid[order], clean["objectid"].to_numpy())
    place = order[np.minimum(place, max(count - 1, 0))] if count else place
    is_known = objectid[place] == clean["objectid"].to_numpy() if count else np.zeros(len(place), bool)
    _, before = _moments(place[is_known], _floats(clean["mag"])[is_known], count)
    return mean, before, after, stated


def _variables(lakehouse: Lakehouse, units: set[Unit]) -> list[tuple[dict[str, Any], list[Curve]]]:
    """Return what varies most surely in some units, with the light curves it has in all."""
    touched = lakehouse.table("measured_units").read(
        ["field", "fid", "rcid", "pixels"], {"field": sorted({field for field, _, _ in units})}
    )
    pixels = {
        pixel
        for row in touched.to_pylist()
        if (row["field"], row["fid"], row["rcid"]) in units
        for pixel in row["pixels"]
    }
    where = {"is_candidate": True, "pixel": sorted(pixels)}
    rows = lakehouse.table("objects").read(_OBJECT, where).to_pylist()
    chosen = []
    for row in rows:
        members = row["members"]
        keys = list(zip(members["fieldid"], members["filterid"], members["rcid"], strict=True))
        if units & set(keys):
            chosen.append((row, keys))
    chosen.sort(
        key=lambda pair: (not is_folded(pair[0]), not is_sure(pair[0]), -(pair[0]["variability"] or 0.0))
    )
    return [(row, _curves(lakehouse, row, keys)) for row, keys in chosen[:MOST_VARIABLES]]


def is_folded(row: dict[str, Any]) -> bool:
    """Say whether an object is periodic beyond what noise does, be it with this period or its alias."""
    alarm = row["log_false_alarm"]
    return bool(row["period"]) and alarm is not None and alarm < SUREST_FALSE_ALARM


def is_sure(row: dict[str, Any]) -> bool:
    """Say whether the period is told from the rhythms of the ground: few nights cannot."""
    return is_folded(row) and not row["is_suspect"]


def _curves(lakehouse: Lakehouse, row: dict[str, Any], keys: list[Unit]) -> list[Curve]:
    found = []
    for objectid, (field, fid, rcid) in zip(row["members"]["objectid"], keys, strict=True):
        where = {"fieldid": field, "filterid": fid, "rcid": rcid, "objectid": objectid}
        table = lakehouse.table("lightcurves").read(("objectid", "lightcurve"), where)
        if table.num_rows:
            _, *values = flattened(table)
            found.append(Curve(fid, *values))
    return found


def _moments(star: NDArray[np.int64], value: Floats, count: int) -> tuple[Floats, Floats]:
    """Return mean and standard deviation by star; NaN where there are too few epochs."""
    n = np.bincount(star, minlength=count)
    enough = n >= LEAST_EPOCHS
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(enough, np.bincount(star, value, count) / n, np.nan)
        spread = np.bincount(star, (value - mean[star]) ** 2, count) / (n - 1)
    return mean, np.where(enough, np.sqrt(np.where(enough, spread, 0.0)), np.nan)


def flattened(curves: pa.Table) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """Return row, time, magnitude and error of all clean epochs of some light curves."""
    offsets, flat = flat_nested(curves, "lightcurve", ("hmjd", "mag", "magerr", "catflags"))
    clean = flat["catflags"] == 0
    star = np.repeat(np.arange(curves.num_rows), np.diff(offsets))[clean]
    return star, *(np.asarray(flat[name][clean], np.float64) for name in ("hmjd", "mag", "magerr"))


def _floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
