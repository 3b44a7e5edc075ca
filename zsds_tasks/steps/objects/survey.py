"""Bring all fields of a survey to one photometric scale, by the stars that several units have."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.parallel import PATIENCE_S, map_ordered
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.relative.survey import (
    SurveyImages,
    SurveyObservations,
    calibrate_survey,
    sample_errors,
)
from zsds_tasks.settings import Settings
from zsds_tasks.steps.objects.columns import table_of
from zsds_tasks.steps.objects.configuration import CalibrationConfig, ObjectsConfig, load_objects_config
from zsds_tasks.steps.objects.offsets import OFFSETS, newest_solution
from zsds_tasks.steps.objects.pixels import named
from zsds_tasks.steps.objects.ties import Ties, join_ties, ties_of_pixel
from zsds_tasks.steps.objects.work import KEY, MEASURED, PixelWork, units_by_pixel

SIGMA_PER_MAD = 1.4826
Columns = dict[str, Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class SurveySummary:
    """What came of calibrating a survey.

    Parameters
    ----------
    solution : int
        Number of the newest solution; 0 if there is none.
    units, observations : int
        Solved for; mean magnitudes that tie them.
    components : int
        Groups of units that stars tie, over all filters.
    scatter_before, scatter_after : float
        Of the means of a star about its mean over all units, mag; the median over units that are tied. NaN
        if none is.
    seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    solution: int
    units: int = 0
    observations: int = 0
    components: int = 0
    scatter_before: float = float("nan")
    scatter_after: float = float("nan")
    seconds: float = 0.0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self)


def solve_survey(
    lakehouse: Lakehouse, settings: Settings, config: ObjectsConfig | None = None
) -> SurveySummary:
    """Solve for one offset of each unit that `update_objects` has measured, filter by filter.

    The next run of `update_objects` adds the offsets of the newest solution to the magnitudes of objects. A
    solution is a function of the measured units alone: the same ones give no second one.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    config : ObjectsConfig, optional
        By default that of ``include/config/objects.yaml``.

    Returns
    -------
    SurveySummary

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; nothing is committed then.
    """
    config = config or load_objects_config(settings.include)
    began = time.perf_counter()
    rows = lakehouse.table(MEASURED).read([*KEY, "night", "state"]).to_pylist()
    newest = newest_solution(lakehouse)
    if not rows:
        return SurveySummary(newest, reason="no unit has been measured")
    inputs = [f"unit {row['field']} {row['fid']} {row['rcid']} {row['state']}" for row in rows]
    state = processing_version("survey", config.calibration, inputs)
    known = lakehouse.table(OFFSETS).read(["state"], {"solution": newest})["state"].to_pylist()
    if state in known:
        return SurveySummary(newest, reason=f"solution {newest} is of the same light curves")
    ties = _gather(lakehouse, settings, config)
    units = np.array([[row[name] for name in KEY] for row in rows], np.int64)
    columns = _solve(units, ties, config.calibration)
    columns |= {"night": [row["night"] for row in rows], "state": [state] * len(rows)}
    columns["solution"] = np.full(len(rows), newest + 1)
    table = table_of(OFFSETS, columns)
    lakehouse.table(OFFSETS).replace(table, {"solution": newest + 1})
    return SurveySummary(
        solution=newest + 1,
        units=len(rows),
        observations=len(ties.mag),
        components=len(set(zip(units[:, 1].tolist(), columns["component"].tolist(), strict=True))),
        scatter_before=_median(columns["scatter_before"]),
        scatter_after=_median(columns["scatter_after"]),
        seconds=time.perf_counter() - began,
    )


def gather_ties(work: PixelWork, settings: Settings, config: ObjectsConfig) -> Ties:
    """Return what ties units in one pixel; a parallel worker does so."""
    return ties_of_pixel(open_lakehouse(settings), work, config)


def _gather(lakehouse: Lakehouse, settings: Settings, config: ObjectsConfig) -> Ties:
    pixels = sorted(units_by_pixel(lakehouse).items(), key=lambda item: named(item[0]).first)
    work = [PixelWork(named(name), tuple(parts), (), "") for name, parts in pixels if len(parts) > 1]
    task = partial(gather_ties, settings=settings, config=config)
    ties = map_ordered(task, work, settings=settings, patience_s=PATIENCE_S)
    return join_ties(list(ties) if work else [])


def _solve(units: Integers, ties: Ties, config: CalibrationConfig) -> Columns:
    """Return the columns of all units (k, 3), solved filter by filter."""
    count = len(units)
    columns: Columns = {name: units[:, k] for k, name in enumerate(KEY)}
    for name in ("offset_mag", "offset_error", "scatter_before", "scatter_after"):
        columns[name] = np.full(count, np.nan)
    columns |= {name: np.zeros(count, np.int64) for name in ("component", "stars")}
    for fid in np.unique(units[:, 1]):
        rows = np.flatnonzero(units[:, 1] == fid)
        for name, values in _solve_filter(units[rows], ties.take(ties.unit[:, 1] == fid), config).items():
            columns[name][rows] = values
    return columns


def _solve_filter(units: Integers, ties: Ties, config: CalibrationConfig) -> Columns:
    number = {tuple(unit): k for k, unit in enumerate(units.tolist())}
    image = np.array([number[tuple(unit)] for unit in ties.unit.tolist()], np.int64)
    stars, star = np.unique(ties.objectid, return_inverse=True)
    zone = np.unique(units[:, 0], return_inverse=True)[1].astype(
        np.int64
    )  # fields: they share a catalogue's errors
    observations = SurveyObservations(
        star=star.astype(np.int64),
        image=image,
        mag=ties.mag,
        error=ties.error,
        n_stars=len(stars),
        n_images=len(units),
    )
    images = SurveyImages(zone=zone)
    found = calibrate_survey(observations, images, config.solver)
    random = np.random.default_rng([config.seed, int(units[0, 1])])
    before, after = (
        _scatter(star, image, ties.mag + shift[image], ties.error, len(units))
        for shift in (np.zeros(len(units)), found.offset)
    )
    return {
        "offset_mag": found.offset,
        "offset_error": sample_errors(observations, images, config.solver, random, config.draws),
        "component": found.component,
        "stars": np.bincount(image, minlength=len(units)),
        "scatter_before": before,
        "scatter_after": after,
    }


def _scatter(star: Integers, image: Integers, mag: Floats, error: Floats, units: int) -> Floats:
    """Return (units) how far means in a unit lie off the stars' means over all units; NaN for none."""
    weight = error**-2.0
    mean = np.bincount(star, weight * mag) / np.bincount(star, weight)
    off = np.abs(mag - mean[star])
    found = np.full(units, np.nan)
    for k in np.unique(image):
        found[k] = SIGMA_PER_MAD * np.median(off[image == k])
    return found


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
