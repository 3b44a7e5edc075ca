"""Build the references that are due, several at a time, and commit them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.parallel import PATIENCE_S, map_ordered
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.outcomes import shortened
from zsds_tasks.steps.references.build import ReferenceOutcome, build_one
from zsds_tasks.steps.references.configuration import ReferencesConfig, load_references_config
from zsds_tasks.steps.references.rows import SOURCES
from zsds_tasks.steps.references.work import LOCKED, REFERENCES, ReferenceWork, Waiting, reference_work

PER_COMMIT = 64
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ReferencesSummary:
    """What came of building references.

    Parameters
    ----------
    built : int
        Of which the best so far.
    failed : tuple of str
        Each with its reason.
    waiting : tuple of str
        Those for which epochs are missing, each with what is.
    sources : int
    core_seconds, seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    built: int
    failed: tuple[str, ...]
    waiting: tuple[str, ...]
    sources: int
    core_seconds: float
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        short = {name: shortened(getattr(self, name)) for name in ("failed", "waiting")}
        return dataclasses.asdict(self) | short


def build_references(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    *,
    fields: Sequence[int] | None = None,
    fids: Sequence[int] | None = None,
    rcids: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: ReferencesConfig | None = None,
) -> ReferencesSummary:
    """Build every reference that can be built and that there is none or a clearly poorer one of.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    now : datetime.datetime
        UTC.
    fields, fids, rcids : sequence of int, optional
        Only these.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : ReferencesConfig, optional
        By default that of ``include/config/references.yaml`` for this camera.

    Returns
    -------
    ReferencesSummary

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; what was committed before stays.
    """
    config = config or load_references_config(settings.include, settings.camera)
    began = time.perf_counter()
    work, waiting = reference_work(lakehouse, settings, config, fields=fields, fids=fids, rcids=rcids)
    outcomes: list[ReferenceOutcome] = []
    function = partial(build_one, settings=settings, config=config, now=now)
    pending: list[ReferenceOutcome] = []
    built = map_ordered(function, work, settings=settings, patience_s=PATIENCE_S)
    for number, outcome in enumerate(built, start=1):
        pending.append(outcome)
        if len(pending) == PER_COMMIT or number == len(work):
            commit(lakehouse, pending)
            outcomes += pending
            pending = []
        if progress:
            progress("references", number, len(work))
    return _summary(work, outcomes, waiting, time.perf_counter() - began)


def commit(lakehouse: Lakehouse, outcomes: Sequence[ReferenceOutcome]) -> None:
    """Commit references: sources first, then their rows and those that they supersede, at once.

    Killed in between, the sources of a version without a row are replaced when it is built again.
    """
    keys = [(outcome.row["rfid"], outcome.row["version"]) for outcome in outcomes]
    sources = [outcome.sources for outcome in outcomes if outcome.sources is not None]
    if sources:
        lakehouse.table(SOURCES).merge(pa.concat_tables(sources))
    rows = [outcome.row for outcome in outcomes]
    better = {row["rfid"] for row in rows if row["vbest"]}
    superseded = [
        row | {"vbest": 0}
        for row in lakehouse.table(REFERENCES).read(where={"rfid": sorted(better)}).to_pylist()
        if row["vbest"] not in (0, LOCKED) and (row["rfid"], row["version"]) not in keys
    ]
    lakehouse.table(REFERENCES).merge([*superseded, *rows])


def _summary(
    work: Sequence[ReferenceWork],
    outcomes: Sequence[ReferenceOutcome],
    waiting: Sequence[Waiting],
    seconds: float,
) -> ReferencesSummary:
    return ReferencesSummary(
        built=sum(1 for outcome in outcomes if outcome.row["status"]),
        failed=tuple(f"{o.row['rfid']}: {o.row['reason']}" for o in outcomes if not o.row["status"]),
        waiting=tuple(f"{w.rfid}: {w.reason}" for w in waiting),
        sources=sum(outcome.sources.num_rows for outcome in outcomes if outcome.sources is not None),
        core_seconds=round(sum(outcome.core_seconds for outcome in outcomes), 2),
        seconds=seconds,
        reason="" if work else "every reference that can be built is there",
    )
