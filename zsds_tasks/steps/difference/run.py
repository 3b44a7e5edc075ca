"""Subtract references from all images that are due, exposure by exposure."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.parallel import map_ordered
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.difference.build import DifferenceOutcome, subtract_one
from zsds_tasks.steps.difference.configuration import DifferencingConfig, load_differencing_config
from zsds_tasks.steps.difference.work import CANDIDATES, DIFFERENCES, DifferenceWork, difference_work
from zsds_tasks.steps.outcomes import shortened


@dataclasses.dataclass(frozen=True)
class DifferenceSummary:
    """What came of subtracting references.

    Parameters
    ----------
    images, candidates : int
        Worked on now.
    failed : tuple of str
        Each with its reason.
    waiting : int
        Images for which there is no reference.
    core_seconds, seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    images: int
    candidates: int
    failed: tuple[str, ...]
    waiting: int
    core_seconds: float
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"failed": shortened(self.failed)}


def subtract_references(
    lakehouse: Lakehouse,
    settings: Settings,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: DifferencingConfig | None = None,
) -> DifferenceSummary:
    """Make every difference image that has no row of the present version.

    Images without a reference wait: they are done by the first run after it was built.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    night : str, optional
        Only this night, YYYYMMDD.
    expids : sequence of int, optional
        Only these exposures.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : DifferencingConfig, optional
        By default that of ``include/config/difference.yaml``.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; what was committed before stays.
    """
    config = config or load_differencing_config(settings.include)
    began = time.perf_counter()
    work, waiting = difference_work(lakehouse, settings, config, night=night, expids=expids)
    outcomes: list[DifferenceOutcome] = []
    for done in _by_exposure(work, settings, config):
        commit(lakehouse, done)
        outcomes += done
        if progress:
            progress("differences", len(outcomes), len(work))
    nothing = f"no image is due; {waiting} wait for a reference" if waiting else "no image is due"
    return DifferenceSummary(
        images=len(outcomes),
        candidates=sum(o.candidates.num_rows for o in outcomes if o.candidates is not None),
        failed=tuple(f"pid {o.row['pid']}: {o.row['reason']}" for o in outcomes if not o.row["status"]),
        waiting=waiting,
        core_seconds=round(sum(o.row["core_seconds"] for o in outcomes), 2),
        seconds=time.perf_counter() - began,
        reason="" if work else nothing,
    )


def commit(lakehouse: Lakehouse, outcomes: Sequence[DifferenceOutcome]) -> None:
    """Replace the rows of some images: one commit per table, difference_images last.

    Killed in between, the images have no row of their version and are done again.
    """
    where = {"pid": [outcome.row["pid"] for outcome in outcomes]}
    candidates = [outcome.candidates for outcome in outcomes if outcome.candidates is not None]
    table = lakehouse.table(CANDIDATES)
    if candidates or table.exists():
        table.replace(pa.concat_tables(candidates) if candidates else [], where)
    lakehouse.table(DIFFERENCES).replace([outcome.row for outcome in outcomes], where)


def _by_exposure(
    work: Sequence[DifferenceWork], settings: Settings, config: DifferencingConfig
) -> Iterator[list[DifferenceOutcome]]:
    """Yield the outcomes of each exposure; images of several may be under way at once."""
    function = partial(subtract_one, settings=settings, config=config)
    outcomes = map_ordered(function, work, settings=settings)
    for _, of_exposure in groupby(work, key=lambda one: one.image["expid"]):
        yield [next(outcomes) for _ in of_exposure]
