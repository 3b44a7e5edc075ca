"""Bring the light curves of all units up to date."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.parallel import PATIENCE_S, map_ordered
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.lightcurves.configuration import LightCurvesConfig, load_lightcurves_config
from zsds_tasks.steps.lightcurves.gather import gather_unit
from zsds_tasks.steps.lightcurves.rows import TABLES, tables_of
from zsds_tasks.steps.lightcurves.unit import make_curves
from zsds_tasks.steps.lightcurves.work import UnitWork, unit_work
from zsds_tasks.steps.outcomes import Outcome, attempt, batches, nothing_of, replace_units, shortened


@dataclasses.dataclass(frozen=True)
class LightCurveSummary:
    """What came of making light curves.

    Parameters
    ----------
    units, stars, epochs : int
        Worked on now.
    failed : tuple of str
        Units that stay as they were, each with its reason; they stay due.
    seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    units: int
    stars: int
    epochs: int
    failed: tuple[str, ...]
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"failed": shortened(self.failed)}


def update_lightcurves(
    lakehouse: Lakehouse,
    settings: Settings,
    *,
    fields: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: LightCurvesConfig | None = None,
) -> LightCurveSummary:
    """Make the light curves of every unit whose images or reference have changed.

    Units are committed some at a time, one commit per table; matched_units last: killed in between, they are
    due again, and give the same rows.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    fields : sequence of int, optional
        Only these.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : LightCurvesConfig, optional
        By default that of ``include/config/lightcurves.yaml``.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; what was committed before stays.
    """
    config = config or load_lightcurves_config(settings.include)
    began = time.perf_counter()
    work = unit_work(lakehouse, config, fields=fields)
    units = stars = epochs = 0
    failed: list[str] = []
    outcomes = _outcomes(work, settings, config)
    for batch in batches(outcomes, config.rows_at_once, "epochs", together=lambda one: one.key[:2]):
        done = [outcome.tables for outcome in batch if outcome.tables is not None]
        failed += [outcome.reason for outcome in batch if outcome.tables is None]
        for name in TABLES:
            replace_units(lakehouse, name, batch)
        units += len(done)
        stars += sum(tables["seeds"].num_rows for tables in done)
        epochs += sum(tables["epochs"].num_rows for tables in done)
        if progress:
            progress("units", units + len(failed), len(work))
    return LightCurveSummary(
        units=units,
        stars=stars,
        epochs=epochs,
        failed=tuple(failed),
        seconds=time.perf_counter() - began,
        reason="" if work else "the light curves of every unit are up to date",
    )


def make_unit(work: UnitWork, settings: Settings, config: LightCurvesConfig) -> Outcome:
    """Make the light curves of one unit; a parallel worker does so."""
    if not work.images:
        return Outcome(work, nothing_of(TABLES))

    def make() -> dict[str, pa.Table]:
        return tables_of(make_curves(gather_unit(open_lakehouse(settings), settings, work, config), config))

    return attempt(work, f"field, filter, channel {work.key}", make)


def _outcomes(work: Sequence[UnitWork], settings: Settings, config: LightCurvesConfig) -> Iterable[Outcome]:
    if not work:  # and no workers are woken
        return ()
    function = partial(make_unit, settings=settings, config=config)
    return map_ordered(function, work, settings=settings, patience_s=PATIENCE_S)
