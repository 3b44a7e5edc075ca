"""Raw ingest: everything complete in the incoming folder is verified, archived and registered, or refused.

Algorithm, outcomes and measured speed: docs/raw-ingest.md.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.errors import NothingToDoError, TransientError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.parallel import map_ordered
from zsds_tasks.science.raw import RawRules, VerificationConfig
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Archive, Progress
from zsds_tasks.steps.decisions import Decisions, Judge, Register
from zsds_tasks.steps.incoming import (
    AnotherIngestError,
    Contents,
    Delivery,
    IncomingConfig,
    look,
    settled,
    sole_ingest,
)
from zsds_tasks.steps.inspection import Inspection, inspect


class RawConfig(Declaration):
    """Configuration of raw ingest; ``include/config/raw.yaml`` overrides the defaults."""

    incoming: IncomingConfig = IncomingConfig()
    verification: VerificationConfig = VerificationConfig()
    batch_files: Annotated[int, Field(ge=1)] = Field(64, description="files per commit")
    parallel_mb: Annotated[float, Field(ge=0)] = Field(
        300.0, description="verify smaller batches in this process: starting workers would cost more"
    )


@dataclass(frozen=True)
class IngestSummary:
    """What one ingest did."""

    ingested: int
    """Files archived and registered."""
    duplicates: int
    """Files that were archived already, with the same bytes."""
    repeats: int
    """Files refused before, with the same name and bytes."""
    quarantined: dict[str, int]
    """Files refused, by code of defect."""
    exposures: int
    """Exposures that gained a CCD or were looked over again."""
    bytes: int
    seconds: float
    left: tuple[tuple[str, str], ...] = field(default=())
    """Name and reason of what still lies in the incoming folder."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return vars(self) | {"left": [list(pair) for pair in self.left]}


def load_raw_config(settings: Settings) -> RawConfig:
    """Read ``include/config/raw.yaml``."""
    return read_declaration(settings.include / "config" / "raw.yaml", RawConfig)


def ingest(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    config: RawConfig | None = None,
) -> IngestSummary:
    """Take in everything that lies complete in the incoming folder.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Camera, incoming folder, declarations, workers.
    now : datetime.datetime
        UTC; the time of arrival that rows get. No frame may be later.
    limit : int, optional
        Take at most this many files, the oldest.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : RawConfig, optional
        By default that of ``include/config/raw.yaml``.

    Returns
    -------
    IngestSummary

    Raises
    ------
    NothingToDoError
        If nothing lies there complete, or another ingest works on the folder (`AnotherIngestError`).
    TransientError
        If storage fails or memory runs out; nothing is lost, and files of earlier batches are done.
    """
    config = config or load_raw_config(settings)
    started = time.perf_counter()
    rules = RawRules.load(settings.camera, settings.include, config.verification, now)
    archive = Archive(lakehouse, rules, progress or _unheard)
    with sole_ingest(settings.incoming_folder):
        contents = look(settings.incoming_folder, config.incoming)
        done = _Tally()
        for batch in _batches(contents, config, limit):
            inspections = _inspect(batch, archive, settings, config)
            judge = Judge(Register.read(lakehouse, inspections), rules, archive.orphan_of)
            decisions = judge.decide(inspections)
            done.add(decisions, archive.take_in(decisions))
        done.leave(contents.foreign)
    if not done.files:
        waiting = "; ".join(f"{name}: {reason}" for name, reason in done.left[:5])
        raise NothingToDoError(
            f"nothing complete to ingest{f' ({waiting})' if waiting else ''}",
            subject=str(settings.incoming_folder),
        )
    return done.summary(time.perf_counter() - started)


def _batches(contents: Contents, config: RawConfig, limit: int | None) -> Iterator[Sequence[Delivery]]:
    """Yield complete files, oldest first; then those that settle while the others were worked on."""
    remaining = len(contents.complete) + len(contents.unsettled) if limit is None else limit
    first = contents.complete[:remaining]
    yield from _pieces(first, config.batch_files)
    if remaining > len(first):
        late = settled(contents.unsettled[: remaining - len(first)], config.incoming)
        yield from _pieces(late, config.batch_files)


def _pieces(files: Sequence[Delivery], size: int) -> Iterator[Sequence[Delivery]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _inspect(
    batch: Sequence[Delivery], archive: Archive, settings: Settings, config: RawConfig
) -> list[Inspection]:
    small = sum(delivery.size for delivery in batch) < config.parallel_mb * 1e6
    inspections = []
    for inspection in map_ordered(
        partial(inspect, rules=archive.rules), batch, workers=1 if small else None, settings=settings
    ):
        inspections.append(inspection)
        archive.progress("files verified", len(inspections), len(batch))
    return inspections


@dataclass
class _Tally:
    """Counts over batches."""

    files: int = 0
    ingested: int = 0
    duplicates: int = 0
    repeats: int = 0
    bytes: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    exposures: set[int] = field(default_factory=set)
    left: list[tuple[str, str]] = field(default_factory=list)

    def add(self, decisions: Decisions, touched: set[int]) -> None:
        """Count one batch."""
        self.files += len(decisions.done_with)
        self.ingested += len(decisions.accepted)
        self.duplicates += len(decisions.duplicates)
        self.repeats += len(decisions.repeats)
        self.bytes += sum(delivery.size for delivery in decisions.done_with)
        self.quarantined.update(refusal.code.value for _, refusal in decisions.refused)
        self.exposures |= touched
        self.left += decisions.left

    def leave(self, foreign: Sequence[tuple[str, str]]) -> None:
        """Note what is no file."""
        self.left += [(name, f"it is a {kind}, not a file") for name, kind in foreign]

    def summary(self, seconds: float) -> IngestSummary:
        """Return the counts."""
        return IngestSummary(
            ingested=self.ingested,
            duplicates=self.duplicates,
            repeats=self.repeats,
            quarantined=dict(sorted(self.quarantined.items())),
            exposures=len(self.exposures),
            bytes=self.bytes,
            seconds=seconds,
            left=tuple(self.left),
        )


def _unheard(_what: str, _done: int, _total: int) -> None:
    """Stand in for a listener."""


def ready_exposures(
    lakehouse: Lakehouse,
    now: dt.datetime,
    grace: dt.timedelta,
    *,
    night: str | None = None,
    science_only: bool = True,
) -> list[int]:
    """Return exposures to be processed with what they have: complete, or waited for long enough.

    Parameters
    ----------
    lakehouse : Lakehouse
    now : datetime.datetime
    grace : datetime.timedelta
        How long after the last CCD to wait for the missing ones.
    night : str, optional
        Only those of one night, YYYYMMDD.
    science_only : bool
        Leave out calibration and engineering frames.

    Returns
    -------
    list of int
        Exposure ids, in order of time.
    """
    ready, _ = _exposures(lakehouse, now, grace, night, science_only=science_only)
    return ready


def waiting_exposures(
    lakehouse: Lakehouse,
    now: dt.datetime,
    grace: dt.timedelta,
    *,
    night: str | None = None,
    science_only: bool = True,
) -> list[int]:
    """Return exposures whose missing CCDs are still waited for; see `ready_exposures`."""
    _, waiting = _exposures(lakehouse, now, grace, night, science_only=science_only)
    return waiting


def _exposures(
    lakehouse: Lakehouse, now: dt.datetime, grace: dt.timedelta, night: str | None, *, science_only: bool
) -> tuple[list[int], list[int]]:
    where: dict[str, Any] = {"night": night} if night else {}
    if science_only:
        where["is_science"] = True
    columns = ["expid", "n_ccds", "n_ccds_expected", "last_received"]
    ready: list[int] = []
    waiting: list[int] = []
    for row in lakehouse.table("raw_exposures").read(columns, where).to_pylist():
        complete = row["n_ccds"] >= row["n_ccds_expected"]
        (ready if complete or now - row["last_received"] >= grace else waiting).append(row["expid"])
    return ready, waiting


def ingest_rest(lakehouse: Lakehouse, settings: Settings, now: dt.datetime) -> dict[str, Any]:
    """Take in what is left, if anything is; see `ingest`.

    Raises
    ------
    TransientError
        If another ingest is at work: what follows needs to know that it has ended.
    """
    try:
        return ingest(lakehouse, settings, now).as_dict()
    except AnotherIngestError as error:
        raise TransientError(error.reason, subject=error.subject, remedy=error.remedy) from error
    except NothingToDoError as error:
        return {"ingested": 0, "reason": str(error)}
