"""How well the objects of a simulated night are told to vary, against what was planted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.variability.candidates import CandidateConfig
from zsds_tasks.science.variability.period_config import SUREST_FALSE_ALARM
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_candidate_verdict import SIGMAS
from zsds_tasks.simulator.score_matching import Columns, Truths, columns_of, rows_of
from zsds_tasks.simulator.truth.tables import read_truth, truth_path
from zsds_tasks.simulator.variability_truth import (
    RADIUS_ARCSEC,
    VARYING,
    TruePlaces,
    true_places,
    true_variables,
    vectors,
)
from zsds_tasks.survey.nights import ObservingNight

Integers = NDArray[np.int64]
Unit = tuple[int, int, int]
PURITY, COMPLETENESS, RIGHT_PERIODS = 0.9, 0.9, 0.95
LEAST = 5
"""Fewer objects than this say nothing about a share."""
LEAST_SCATTER = 5.0
"""Scatter of the true magnitudes over the median error from which a variable must be found."""
PERIOD_ERROR = 0.001
MOST_OBJECTS = 2000
_OBJECT = ("objectid", "ra", "dec", "is_candidate", "period", "is_suspect", "log_false_alarm")


@dataclass(frozen=True)
class VariabilityScore:
    """Numbers of one night's objects.

    Parameters
    ----------
    measures : list of Measure
        Empty if no objects were made, or the night is not a simulated one.
    objects : dict
        What candidate variables really are in a word, by objectid as text: ``variable``, ``bogus: star``; at
        most `MOST_OBJECTS` of them.
    """

    measures: list[Measure]
    objects: dict[str, str] = field(default_factory=dict)


def assess_variability(lakehouse: Lakehouse, truth: Path, night: ObservingNight) -> VariabilityScore:
    """Compare what the objects of a night's units are said to be with what truly is at their places.

    Parameters
    ----------
    lakehouse : Lakehouse
    truth : Path
        Folder of truth tables. Earlier nights of the units count where they have truth.
    night : ObservingNight

    Returns
    -------
    VariabilityScore
    """
    units, images = _images(lakehouse, night)
    if not units or not truth_path(truth, night, "detections").exists():
        return VariabilityScore([])
    objects = _objects(lakehouse, units)
    if not len(objects["objectid"]):
        return VariabilityScore([])
    epochs: dict[str, list[int]] = defaultdict(list)
    for name, expid in sorted({(row["night"], row["expid"]) for row in images}):
        epochs[name].append(expid)
    wanted = objects["is_candidate"] | _of_variables(objects, true_variables(truth, epochs))
    objects = _in_units(lakehouse, rows_of(objects, wanted), units)
    there = true_places(truth, epochs, objects["ra"], objects["dec"])
    is_real = np.isin(there.kind, VARYING)
    must = _must_be_found(lakehouse, objects, there, {row["pid"]: row["expid"] for row in images})
    periods = read_truth(truth, night, "objects").select(["object_id", "period_days"])
    said = objects["is_candidate"]
    measures = [
        *_purity(there.kind[said], is_real[said]),
        *_completeness(said[must]),
        *_periods(rows_of(objects, said), there.object_id[said], columns_of(periods)),
    ]
    words = zip(objects["objectid"][said], there.kind[said], is_real[said], strict=True)
    named = {str(name): str(kind) if real else f"bogus: {kind}" for name, kind, real in words}
    return VariabilityScore(measures, dict(list(named.items())[:MOST_OBJECTS]))


def with_variability(report: Mapping[str, Any], score: VariabilityScore) -> dict[str, Any]:
    """Return a score as the night's report takes it: these measures behind its own, and ``variables``."""
    joined = dict(report) | {"measures": [*report["measures"], *map(asdict, score.measures)]}
    return joined | ({"variables": score.objects} if score.objects else {})


def _images(lakehouse: Lakehouse, night: ObservingNight) -> tuple[set[Unit], list[dict[str, Any]]]:
    """Return the units that have images of a night, and their images of all nights."""
    columns, table = ("pid", "expid", "night", "field", "fid", "rcid"), lakehouse.table("science_images")
    here = table.read(columns, {"night": str(night), "status": 1}).to_pylist()
    units = {_unit(row) for row in here if row["field"] > 0}
    fields = sorted({unit[0] for unit in units})
    rows = table.read(columns, {"field": fields, "status": 1}).to_pylist() if fields else []
    return units, [row for row in rows if _unit(row) in units]


def _unit(row: Mapping[str, Any]) -> Unit:
    return row["field"], row["fid"], row["rcid"]


def _objects(lakehouse: Lakehouse, units: set[Unit]) -> Columns:
    """Return the objects of the pixels of sky that some units touch."""
    where = {"field": sorted({unit[0] for unit in units})}
    made = lakehouse.table("measured_units").read(("field", "fid", "rcid", "pixels"), where).to_pylist()
    pixels = {pixel for row in made if _unit(row) in units for pixel in row["pixels"]}
    return columns_of(lakehouse.table("objects").read(_OBJECT, {"pixel": sorted(pixels)}))


def _of_variables(objects: Columns, variables: Columns) -> Truths:
    """Return which objects are the nearest to a true variable."""
    found = np.zeros(len(objects["objectid"]), np.bool_)
    tree = cKDTree(vectors(objects["ra"], objects["dec"]))
    away, row = tree.query(vectors(variables["ra"], variables["dec"]), distance_upper_bound=RADIUS_ARCSEC)
    found[row[np.isfinite(away)]] = True
    return found


def _in_units(lakehouse: Lakehouse, objects: Columns, units: set[Unit]) -> Columns:
    """Return those objects that have a light curve in some units, with their `members` in these."""
    wanted = objects["objectid"].tolist()
    rows = lakehouse.table("objects").read(("objectid", "members"), {"objectid": wanted}).to_pylist()
    inside = {}
    for row in rows:
        keys = zip(*(row["members"][name] for name in ("fieldid", "filterid", "rcid")), strict=True)
        mine = [name for name, unit in zip(row["members"]["objectid"], keys, strict=True) if unit in units]
        inside[row["objectid"]] = mine
    members = np.empty(len(wanted), object)
    members[:] = [inside[name] for name in wanted]
    return rows_of(objects | {"members": members}, np.array([len(m) > 0 for m in members], np.bool_))


def _must_be_found(
    lakehouse: Lakehouse, objects: Columns, there: TruePlaces, expid_of: Mapping[int, int]
) -> Truths:
    """Return which objects hold a variable star that any of their light curves must show.

    Counted is the true light of all that is there, at the good epochs whose truth is known.
    """
    must = np.zeros(len(objects["objectid"]), np.bool_)
    place_of = {
        name: place
        for place, names in enumerate(objects["members"])
        if there.kind[place] == VARYING[0]
        for name in names
    }
    where = {"objectid": sorted(place_of)}
    epochs = lakehouse.table("epochs").read(("objectid", "pid"), where | {"catflags": 0}).to_pylist()
    curves = lakehouse.table("lightcurve_statistics").read(("objectid", "medmagerr"), where)
    true: dict[int, list[float]] = defaultdict(list)
    for row in epochs:
        key = (place_of[row["objectid"]], expid_of.get(row["pid"], -1))
        if key in there.epochs:
            true[row["objectid"]].append(there.epochs[key])
    least = CandidateConfig().least_epochs
    for row in curves.to_pylist():
        mags = true[row["objectid"]]
        if len(mags) >= least and np.std(mags) > LEAST_SCATTER * (row["medmagerr"] or np.inf):
            must[place_of[row["objectid"]]] = True
    return must


def _purity(kind: NDArray[np.str_], is_real: Truths) -> Iterator[Measure]:
    wrong = ", ".join(f"{n} {name}" for name, n in sorted(Counter(kind[~is_real].tolist()).items()))
    words = f"objects said to vary that do{f'; wrong: {wrong}' if wrong else ''}"
    return _share("purity of candidate variables", is_real, PURITY, words)


def _completeness(said: Truths) -> Iterator[Measure]:
    words = f"true variables that scatter by over {LEAST_SCATTER:g} errors in a light curve are said to vary"
    return _share("completeness of candidate variables", said, COMPLETENESS, words)


def _periods(objects: Columns, object_id: Integers, truth: Columns) -> Iterator[Measure]:
    """Yield how many of the periods given as sure are those of truth, where it knows one."""
    known = dict(zip(truth["object_id"].tolist(), truth["period_days"].tolist(), strict=True))
    true = np.array([known.get(name) or np.nan for name in object_id.tolist()], float)
    period, alarm = (np.array(objects[name], float) for name in ("period", "log_false_alarm"))
    with np.errstate(invalid="ignore"):
        sure = (period > 0) & (alarm < SUREST_FALSE_ALARM) & ~objects["is_suspect"] & np.isfinite(true)
    right = np.abs(period[sure] / true[sure] - 1) < PERIOD_ERROR
    words = f"periods given as sure are within {PERIOD_ERROR:.1%} of the true ones"
    return _share("sure periods that are right", right, RIGHT_PERIODS, words)


def _share(name: str, good: Truths, target: float, words: str) -> Iterator[Measure]:
    """Yield a share that is met within `SIGMAS` of the error that the target itself would have."""
    if len(good) < LEAST:
        return
    error, value = float(np.sqrt(target * (1 - target) / len(good))), float(good.mean())
    sentence = f"{good.sum():,} of {len(good):,} {words}; good to {error:.2f}"
    yield Measure(name, float(f"{value:.4g}"), target, bool(value >= target - SIGMAS * error), sentence)
