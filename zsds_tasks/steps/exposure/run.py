"""Process exposures, raw to scored candidates: fan channels out, commit each exposure once per table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import largest
from zsds_tasks.parallel import map_ordered
from zsds_tasks.settings import Settings
from zsds_tasks.steps import difference  # a module: each of the two packages needs modules of the other
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.calibration import build_lamp_maps, build_masters
from zsds_tasks.steps.exposure.commit import commit_exposure
from zsds_tasks.steps.exposure.configuration import ExposureConfig, load_exposure_config
from zsds_tasks.steps.exposure.outcome import QuadrantOutcome
from zsds_tasks.steps.exposure.quadrant import HotPathConfigs, process_quadrant
from zsds_tasks.steps.exposure.summary import ExposureSummary, Totals
from zsds_tasks.steps.exposure.work import IMAGES, ExposureWork, QuadrantWork, work_list

if TYPE_CHECKING:
    from zsds_tasks.steps.difference import DifferencingConfig


def process_exposures(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: ExposureConfig | None = None,
    differencing: DifferencingConfig | None = None,
) -> ExposureSummary:
    """Calibrate every channel that has no row of the present version, and subtract its reference.

    A channel that has a usable reference is compared while it is in memory. Images of the night (of these
    exposures; by default of the newest night) that a killed run left without their difference are compared
    last, from their files.

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
    differencing : DifferencingConfig, optional
        By default that of ``include/config/difference.yaml``.

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
    configs = HotPathConfigs(config, differencing or difference.load_differencing_config(settings.include))
    started = time.perf_counter()
    work = work_list(lakehouse, settings, config, now, night=night, expids=expids)
    work = _with_references(work, lakehouse, settings, configs.differencing)
    totals = Totals()
    for number, (exposure, outcomes) in enumerate(_processed(work, lakehouse, settings, configs), start=1):
        commit_exposure(lakehouse, exposure.expid, outcomes, config.verdict)
        compared = [outcome.difference for outcome in outcomes if outcome.difference]
        if compared:
            difference.commit(lakehouse, compared)
        totals.add(outcomes)
        if progress:
            progress("exposures", number, len(work))
    left = difference.subtract_references(
        lakehouse,
        settings,
        night=night or (None if expids is not None else _newest_night(lakehouse)),
        expids=expids,
        progress=progress,
        config=configs.differencing,
    )
    totals.add_left(left)
    seconds = time.perf_counter() - started
    nothing = not work and not left.images
    return totals.summary(len(work), seconds, "every ready exposure is processed" if nothing else "")


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


def _newest_night(lakehouse: Lakehouse) -> str | None:
    """Return the newest night with images.

    Those of older nights wait for a run of their night or of the references: after a change of configuration
    or model all images ever are due, and tonight's alerts must not wait for them.
    """
    newest: str | None = largest(lakehouse.table(IMAGES), "night", {})
    return newest


def _with_references(
    work: Sequence[ExposureWork], lakehouse: Lakehouse, settings: Settings, config: DifferencingConfig
) -> list[ExposureWork]:
    """Return the work with what is to be subtracted from each channel, looked up once for all."""
    if not work:
        return []
    fields = (quadrant.exposure["field"] for exposure in work for quadrant in exposure.quadrants)
    where = {"expid": [exposure.expid for exposure in work]}
    shelf = difference.ReferenceShelf(lakehouse, settings, config, fields, where)

    def chosen(quadrant: QuadrantWork) -> QuadrantWork:
        image = {name: quadrant.exposure[name] for name in ("field", "fid", "obsjd")}
        image |= {"pid": quadrant.pid, "rcid": quadrant.quadrant["rcid"]}
        image |= {"processing_version": quadrant.version, "raw_sha256": quadrant.quadrant["sha256"]}
        return dataclasses.replace(quadrant, reference=shelf.choose(image))

    return [
        dataclasses.replace(exposure, quadrants=tuple(chosen(quadrant) for quadrant in exposure.quadrants))
        for exposure in work
    ]


def _processed(
    work: Sequence[ExposureWork], lakehouse: Lakehouse, settings: Settings, configs: HotPathConfigs
) -> Iterator[tuple[ExposureWork, list[QuadrantOutcome]]]:
    """Yield each exposure with the outcomes of its channels; channels of several may be under way at once."""
    quadrants: list[QuadrantWork] = [quadrant for exposure in work for quadrant in exposure.quadrants]
    pixels = sum(quadrant.quadrant["file_size"] for quadrant in quadrants)
    small = pixels < configs.exposure.parallel_mb * 1e6
    function = partial(process_quadrant, settings=settings, configs=configs)
    if small:
        function = partial(function, lakehouse=lakehouse)
    outcomes = map_ordered(function, quadrants, workers=1 if small else None, settings=settings)
    for exposure in work:
        yield exposure, [next(outcomes) for _ in exposure.quadrants]
