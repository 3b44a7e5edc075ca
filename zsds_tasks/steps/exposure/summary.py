"""What came of processing exposures, counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zsds_tasks.steps.exposure.outcome import QuadrantOutcome
from zsds_tasks.steps.outcomes import shortened

if TYPE_CHECKING:
    from zsds_tasks.steps.difference import DifferenceOutcome, DifferenceSummary


@dataclasses.dataclass(frozen=True)
class ExposureSummary:
    """What came of processing exposures.

    Parameters
    ----------
    exposures, quadrants, sources : int
        Worked on now.
    failed : tuple of str
        Channels without a calibrated image, each with its reason.
    flagged : int
        Channels that were calibrated and found not to be used.
    differences, candidates : int
        Images that a reference was subtracted from now, and what was found there.
    not_compared : tuple of str
        Those of which that failed, each with its reason.
    waiting : int
        Images for which there is no reference.
    core_seconds : float
        Processor time of the quadrants.
    seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    exposures: int
    quadrants: int
    sources: int
    failed: tuple[str, ...]
    flagged: int
    differences: int
    candidates: int
    not_compared: tuple[str, ...]
    waiting: int
    core_seconds: float
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        lists = {name: shortened(getattr(self, name)) for name in ("failed", "not_compared")}
        return dataclasses.asdict(self) | lists


@dataclasses.dataclass
class Totals:
    """The same while it grows."""

    quadrants: int = 0
    sources: int = 0
    flagged: int = 0
    differences: int = 0
    candidates: int = 0
    waiting: int = 0
    core_seconds: float = 0.0
    failed: list[str] = dataclasses.field(default_factory=list)
    not_compared: list[str] = dataclasses.field(default_factory=list)

    def add(self, outcomes: Sequence[QuadrantOutcome]) -> None:
        """Count the channels of an exposure."""
        self.quadrants += len(outcomes)
        for outcome in outcomes:
            image = outcome.image
            self.core_seconds += outcome.core_seconds
            if outcome.sources is not None:
                self.sources += outcome.sources.num_rows
            if image["stage"] != "done":
                name = f"exposure {image['expid']} channel {image['rcid']}"
                self.failed.append(f"{name}: {image['stage']}: {image['reason']}")
            elif image["status"] == 0:
                self.flagged += 1
            if outcome.difference is not None:
                self._add_difference(outcome.difference)

    def _add_difference(self, done: DifferenceOutcome) -> None:
        self.differences += 1
        self.core_seconds += done.row["core_seconds"]
        if done.candidates is not None:
            self.candidates += done.candidates.num_rows
        if not done.row["status"]:
            self.not_compared.append(f"pid {done.row['pid']}: {done.row['reason']}")

    def add_left(self, done: DifferenceSummary) -> None:
        """Count what was compared from files."""
        self.differences += done.images
        self.candidates += done.candidates
        self.core_seconds += done.core_seconds
        self.not_compared += done.failed
        self.waiting = done.waiting

    def summary(self, exposures: int, seconds: float, reason: str) -> ExposureSummary:
        """Return what it has become."""
        return ExposureSummary(
            exposures=exposures,
            quadrants=self.quadrants,
            sources=self.sources,
            failed=tuple(self.failed),
            flagged=self.flagged,
            differences=self.differences,
            candidates=self.candidates,
            not_compared=tuple(self.not_compared),
            waiting=self.waiting,
            core_seconds=round(self.core_seconds, 2),
            seconds=seconds,
            reason=reason,
        )
