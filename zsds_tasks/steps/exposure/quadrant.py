"""One channel of one exposure: read what the chain needs, run it, write its products, return its rows."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.science.astrometry import Pointing
from zsds_tasks.science.calibration.reduce import ReadoutFacts
from zsds_tasks.science.masking.ghosts import BrightStars, filter_magnitudes
from zsds_tasks.settings import Settings
from zsds_tasks.steps import difference  # a module: each of the two packages needs modules of the other
from zsds_tasks.steps.exposure import catalogs
from zsds_tasks.steps.exposure.calibrated import Calibrated, combine
from zsds_tasks.steps.exposure.calibration import pixels_of, require
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.configuration import ExposureConfig
from zsds_tasks.steps.exposure.files import Written, write_products
from zsds_tasks.steps.exposure.given import Buffers, Catalogs, ChainInput
from zsds_tasks.steps.exposure.outcome import QuadrantOutcome
from zsds_tasks.steps.exposure.rows import DONE, image_row, quality_row, source_rows
from zsds_tasks.steps.exposure.work import QuadrantWork
from zsds_tasks.steps.ghosts import collect_rows
from zsds_tasks.steps.outcomes import reason_of
from zsds_tasks.steps.readouts import RawReadout, read_readout
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.survey import load_survey

if TYPE_CHECKING:
    from zsds_tasks.steps.difference import DifferencingConfig

Row = dict[str, Any]
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class HotPathConfigs:
    """How a channel is calibrated, and how its difference is made."""

    exposure: ExposureConfig
    differencing: DifferencingConfig


def process_quadrant(
    work: QuadrantWork, settings: Settings, configs: HotPathConfigs, lakehouse: Lakehouse | None = None
) -> QuadrantOutcome:
    """Bring one channel of one exposure from raw counts to scored candidates.

    Parameters
    ----------
    work : QuadrantWork
    settings : Settings
    configs : HotPathConfigs
    lakehouse : Lakehouse, optional
        By default the one of the settings is opened: a parallel worker does so.

    Returns
    -------
    QuadrantOutcome
        Whatever came of it: a channel that cannot be calibrated has a row that says where it failed and why,
        as has a difference that cannot be made.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong: trying again makes sense, or nothing does.
    """
    lakehouse = lakehouse or open_lakehouse(settings)
    config = configs.exposure
    began = time.process_time()
    chain: Chain | None = None
    try:
        require(work.calibration, work.quadrant["path"])
        readout = read_readout(lakehouse, work.quadrant)
        given = _given(work, readout, settings, lakehouse)
        chain = Chain(given, _catalogs(settings, given, config), config, _buffers(given.raw.shape))
        chain.run()
        found = combine(chain)
        written: Written | None = None
        is_usable = bool(found.verdict.status)
        ghosts = _ghost_rows(work, found) if is_usable else ()
        if is_usable and config.write_products:
            restored = chain.buffers.scratch if work.reference else None  # free: the chain is at its end
            written = write_products(work, found, readout, settings, lakehouse, restored)
    except Exception as error:  # noqa: BLE001 - one channel must not stop the exposure; its row tells
        return _failed(work, chain, error, began)
    products, path = (written.products, written.path) if written else ({}, None)
    image = image_row(work, chain, DONE, found.verdict.reason, products, path)
    seconds = time.process_time() - began
    calibrated = QuadrantOutcome(
        image=image,
        quality=quality_row(image, chain, seconds),
        sources=source_rows(work, found, found.verdict.infobits) if is_usable else None,
        ghost_stamps=ghosts,
        core_seconds=seconds,
    )
    return _compared(calibrated, work, chain, written, settings, configs, lakehouse)


def _compared(
    calibrated: QuadrantOutcome,
    work: QuadrantWork,
    chain: Chain,
    written: Written | None,
    settings: Settings,
    configs: HotPathConfigs,
    lakehouse: Lakehouse,
) -> QuadrantOutcome:
    """Return an outcome with that of the difference, if there is something to subtract."""
    if work.reference is None or written is None or calibrated.sources is None:
        return calibrated
    in_memory = difference.JustWritten(
        written.image_file, written.psf_file, chain.buffers.scratch, chain.mask, calibrated.sources
    )
    done = difference.subtract_in_memory(
        in_memory, work.reference.of(calibrated.image), settings, configs.differencing, lakehouse
    )
    return dataclasses.replace(calibrated, difference=done)


def _failed(work: QuadrantWork, chain: Chain | None, error: Exception, began: float) -> QuadrantOutcome:
    reason = reason_of(error, work.quadrant["path"])
    stage = chain.stage if chain else "input"
    stage = "products" if stage == DONE else stage
    image = image_row(work, chain, stage, reason, {}, None)
    seconds = time.process_time() - began
    return QuadrantOutcome(image, quality_row(image, chain, seconds), None, (), seconds)


def _given(work: QuadrantWork, readout: RawReadout, settings: Settings, lakehouse: Lakehouse) -> ChainInput:
    exposure, row, calibration = work.exposure, work.quadrant, work.calibration
    camera = load_camera(settings.camera, settings.include)
    survey = load_survey(camera.survey, settings.include)
    masters = {kind: pixels_of(lakehouse, settings, master) for kind, master in calibration.rows.items()}
    return ChainInput(
        subject=row["path"],
        camera=camera,
        quadrant=camera.quadrants[row["rcid"]],
        filter_name=survey.filter_by_fid(exposure["fid"]).name,
        raw=readout.image,
        overscan=readout.overscan,
        bias=masters[CalibrationKind.BIAS],
        flat=masters[CalibrationKind.HIGH_FREQUENCY_FLAT],
        static_mask=masters[CalibrationKind.BAD_PIXELS],
        smooth=calibration.smooth,
        facts=ReadoutFacts(row["gain"], row["saturation"], calibration.linearity),
        read_noise=row["readnoise"],
        pointing=Pointing(exposure["ra"], exposure["dec"], exposure["rotator"]),
        mjd=exposure["obsmjd"] + exposure["exptime"] / 2 / SECONDS_PER_DAY,
        exptime_s=exposure["exptime"],
        airmass=exposure["airmass"],
        calibration_age_d=float(calibration.oldest_days),
        ghost_model=calibration.ghost_model,
    )


def _catalogs(settings: Settings, given: ChainInput, config: ExposureConfig) -> Catalogs:
    ghosts = config.ghosts

    def bright(centre: tuple[float, float], radius_deg: float) -> BrightStars:
        stars = catalogs.bright_stars(settings, centre, radius_deg, ghosts.brighter_than_mag)
        ra, dec, mag, colour = np.ascontiguousarray(stars.T)
        coefficients = ghosts.gaia_colours.get(given.filter_name, (0.0,))
        return BrightStars(ra, dec, filter_magnitudes(mag, colour, coefficients))

    return Catalogs(
        astrometric=partial(catalogs.astrometric_stars, settings),
        photometric=partial(catalogs.photometric_stars, settings),
        bright=bright,
    )


@lru_cache(maxsize=1)
def _buffers(shape: tuple[int, int]) -> Buffers:
    """Return this worker's buffers: allocated once, page faults paid once."""
    return Buffers.of(shape)


def _ghost_rows(work: QuadrantWork, found: Calibrated) -> tuple[Row, ...]:
    rows = collect_rows(
        found.ghost_stamps,
        expid=work.exposure["expid"],
        rcid=work.quadrant["rcid"],
        night=work.exposure["night"],
        fid=work.exposure["fid"],
        processing_version=work.version,
    )
    return tuple(rows)
