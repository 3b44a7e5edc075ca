"""Process exposures: fan their channels out, commit each exposure once per table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.parallel import map_ordered
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.calibration import build_lamp_maps, build_masters
from zsds_tasks.steps.exposure.commit import commit_exposure
from zsds_tasks.steps.exposure.configuration import ExposureConfig, load_exposure_config
from zsds_tasks.steps.exposure.outcome import QuadrantOutcome
from zsds_tasks.steps.exposure.quadrant import process_quadrant
from zsds_tasks.steps.exposure.work import ExposureWork, QuadrantWork, work_list
from zsds_tasks.steps.outcomes import shortened


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
    core_seconds: float
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"failed": shortened(self.failed)}


def process_exposures(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: ExposureConfig | None = None,
) -> ExposureSummary:
    """Calibrate every channel that has no row of the present version.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Camera, reference catalogues, workers.
    now : datetime.datetime
        UTC; decides which incomplete exposures are waited for.
    night : str, optional
        Only this night, YYYYMMDD.
    expids : sequence of int, optional
        Only these exposures.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : ExposureConfig, optional
        By default that of ``include/config/exposure.yaml``.

    Returns
    -------
    ExposureSummary
        A channel that failed is no failure of the exposure: its row says why.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; what was committed before stays.
    """
    config = config or load_exposure_config(settings.include)
    started = time.perf_counter()
    work = work_list(lakehouse, settings, config, now, night=night, expids=expids)
    totals = _Totals()
    for number, (exposure, outcomes) in enumerate(_processed(work, lakehouse, settings, config), start=1):
        commit_exposure(lakehouse, exposure.expid, outcomes, config.verdict)
        totals.add(outcomes)
        if progress:
            progress("exposures", number, len(work))
    seconds = time.perf_counter() - started
    return totals.summary(len(work), seconds, "" if work else "every ready exposure is processed")


def process_waiting(
    lakehouse: Lakehouse, settings: Settings, now: dt.datetime, *, expids: Sequence[int] | None = None
) -> ExposureSummary:
    """Process what is ready, after building the masters that its nights are missing.

    A night's calibration frames are taken before its science: whoever processes the first exposure finds them
    all and builds the masters, later exposures find them built.
    """
    config = load_exposure_config(settings.include)
    nights = {
        quadrant.exposure["night"]
        for exposure in work_list(lakehouse, settings, config, now, expids=expids)
        for quadrant in exposure.quadrants
    }
    for night in sorted(nights):
        build_masters(lakehouse, settings, night, now)
        build_lamp_maps(lakehouse, settings, night, now)
    return process_exposures(lakehouse, settings, now, expids=expids, config=config)


def _processed(
    work: Sequence[ExposureWork], lakehouse: Lakehouse, settings: Settings, config: ExposureConfig
) -> Iterator[tuple[ExposureWork, list[QuadrantOutcome]]]:
    """Yield each exposure with the outcomes of its channels; channels of several may be under way at once."""
    quadrants: list[QuadrantWork] = [quadrant for exposure in work for quadrant in exposure.quadrants]
    pixels = sum(quadrant.quadrant["file_size"] for quadrant in quadrants)
    small = pixels < config.parallel_mb * 1e6
    function = partial(process_quadrant, settings=settings, config=config)
    if small:
        function = partial(function, lakehouse=lakehouse)
    outcomes = map_ordered(function, quadrants, workers=1 if small else None, settings=settings)
    for exposure in work:
        yield exposure, [next(outcomes) for _ in exposure.quadrants]


@dataclasses.dataclass
class _Totals:
    quadrants: int = 0
    sources: int = 0
    flagged: int = 0
    core_seconds: float = 0.0
    failed: list[str] = dataclasses.field(default_factory=list)

    def add(self, outcomes: Sequence[QuadrantOutcome]) -> None:
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

    def summary(self, exposures: int, seconds: float, reason: str) -> ExposureSummary:
        return ExposureSummary(
            exposures=exposures,
            quadrants=self.quadrants,
            sources=self.sources,
            failed=tuple(self.failed),
            flagged=self.flagged,
            core_seconds=round(self.core_seconds, 2),
            seconds=seconds,
            reason=reason,
        )
