"""Bring statistics of light curves and objects up to date."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.parallel import PATIENCE_S, map_ordered
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.objects.configuration import ObjectsConfig, load_objects_config
from zsds_tasks.steps.objects.curves import STATISTICS, measure_curves
from zsds_tasks.steps.objects.objects import OBJECTS, make_objects
from zsds_tasks.steps.objects.pixels import name_of
from zsds_tasks.steps.objects.work import (
    KEY,
    MEASURED,
    PIXELS,
    CurvesWork,
    PixelWork,
    curves_work,
    pixel_work,
)
from zsds_tasks.steps.outcomes import Outcome, attempt, batches, nothing_of, replace_units, shortened

UNIT_TABLES, PIXEL_TABLES = (STATISTICS, MEASURED), (OBJECTS, PIXELS)
"""In the order in which they are committed: the last says that a unit, a pixel, is done."""


@dataclasses.dataclass(frozen=True)
class ObjectsSummary:
    """What came of making objects.

    Parameters
    ----------
    units, curves : int
        Units whose light curves were measured now, and how many these are.
    pixels, objects, candidates, periods : int
        Pixels made anew, their objects, those that vary, those of them with a period.
    failed : tuple of str
        Units and pixels that stay as they were, each with its reason; they stay due.
    seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    units: int
    curves: int
    pixels: int
    objects: int
    candidates: int
    periods: int
    failed: tuple[str, ...]
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"failed": shortened(self.failed)}


def update_objects(
    lakehouse: Lakehouse,
    settings: Settings,
    *,
    progress: Progress | None = None,
    config: ObjectsConfig | None = None,
) -> ObjectsSummary:
    """Measure the light curves of units that have changed, then make the objects of the pixels they touch.

    Units and pixels are committed some at a time, one commit per table; measured_units and object_pixels
    last: killed in between, they are due again, and give the same rows.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : ObjectsConfig, optional
        By default that of ``include/config/objects.yaml``.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; what was committed before stays.
    """
    config = config or load_objects_config(settings.include)
    began = time.perf_counter()

    def done(what: str, function: Any, work: Sequence[Any], counted: str, together: Any) -> _Done:
        found = _Done()
        if not work:  # nor a cluster to be started for it
            return found
        task = partial(function, settings=settings, config=config)
        outcomes = map_ordered(task, work, settings=settings, patience_s=PATIENCE_S)
        for batch in batches(outcomes, config.rows_at_once, counted, together=together):
            found.add(_commit(lakehouse, batch))
            if progress:
                progress(what, len(found.good) + len(found.failed), len(work))
        return found

    units = curves_work(lakehouse, config)
    measured = done("units", measure_unit, units, STATISTICS, lambda unit: unit.key[:2])
    pixels = pixel_work(lakehouse, settings, config.pixels)
    made = done("pixels", make_pixel, pixels, OBJECTS, lambda pixel: pixel.pixel)
    return ObjectsSummary(
        units=len(measured.good),
        curves=measured.total("curves"),
        pixels=len(made.good),
        objects=made.total("objects"),
        candidates=made.total("candidates"),
        periods=made.total("periods"),
        failed=(*measured.failed, *made.failed),
        seconds=time.perf_counter() - began,
        reason="" if units or pixels else "the objects of every pixel are up to date",
    )


def measure_unit(work: CurvesWork, settings: Settings, config: ObjectsConfig) -> Outcome:
    """Measure the light curves of one unit; a parallel worker does so."""
    if not work.state:
        return Outcome(work, nothing_of(UNIT_TABLES))

    def measure() -> dict[str, pa.Table]:
        found = measure_curves(open_lakehouse(settings), work, config)
        return {STATISTICS: found.statistics, MEASURED: found.unit}

    return attempt(work, f"field, filter, channel {work.key}", measure)


def make_pixel(work: PixelWork, settings: Settings, config: ObjectsConfig) -> Outcome:
    """Make the objects of one pixel; a parallel worker does so."""
    if not work.units:
        return Outcome(work, nothing_of(PIXEL_TABLES))
    return attempt(
        work, f"{work.pixel}", lambda: make_objects(open_lakehouse(settings), settings, work, config)
    )


@dataclasses.dataclass
class _Done:
    """Rows of the units or pixels done, None for those that are no more, and reasons of failures."""

    good: list[dict[str, Any] | None] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)

    def add(self, batch: Sequence[Outcome]) -> None:
        for outcome in batch:
            if outcome.tables is None:
                self.failed.append(outcome.reason)
            else:
                told = list(outcome.tables.values())[-1].to_pylist()
                self.good.append(told[0] if told else None)

    def total(self, name: str) -> int:
        return sum(row[name] for row in self.good if row)


def _commit(lakehouse: Lakehouse, batch: Sequence[Outcome]) -> Sequence[Outcome]:
    """Commit what was made of a batch, the table that says so last."""
    good = [outcome for outcome in batch if outcome.tables is not None]
    for name in good[0].tables or () if good else ():
        _replace(lakehouse, name, good)
    return batch


def _replace(lakehouse: Lakehouse, name: str, batch: Sequence[Outcome]) -> None:
    """Replace the rows of a batch in a table."""
    table = lakehouse.table(name)
    rows = [outcome.tables[name] for outcome in batch if outcome.tables is not None]
    if name in PIXEL_TABLES:
        table.replace(pa.concat_tables(rows), {"pixel": [name_of(outcome.work.pixel) for outcome in batch]})
    elif name == MEASURED:
        for outcome in batch:
            if not outcome.work.state:
                table.delete(dict(zip(KEY, outcome.work.key, strict=True)))
        table.merge(pa.concat_tables(rows))
    else:
        replace_units(lakehouse, name, batch)
