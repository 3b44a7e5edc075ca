"""Sources of a co-add, measured and calibrated as those of any image: stages of the hot path on its grid."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.astrometry import Pointing, QuadrantView, model_of_plane, pixel_grid
from zsds_tasks.science.calibration.reduce import ReadoutFacts
from zsds_tasks.science.masking.ghosts import BrightStars
from zsds_tasks.science.reference.build import Reference
from zsds_tasks.settings import Settings
from zsds_tasks.sky import tangent
from zsds_tasks.steps.exposure import catalogs
from zsds_tasks.steps.exposure.calibrated import Calibrated, combine
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.configuration import ExposureConfig
from zsds_tasks.steps.exposure.given import Buffers, Catalogs, ChainInput
from zsds_tasks.steps.references.work import ReferenceWork
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO
from zsds_tasks.survey.survey import load_survey

STAGES = ("background", "point_sources", "astrometry", "zero_point", "apertures", "judge")


def measure(
    reference: Reference, work: ReferenceWork, settings: Settings, config: ExposureConfig
) -> Calibrated:
    """Measure PSF, sources, astrometry, zero point and depth of a co-add.

    Parameters
    ----------
    reference : Reference
    work : ReferenceWork
    settings : Settings
        Camera and reference catalogues.
    config : ExposureConfig
        The hot path's.

    Returns
    -------
    Calibrated
        Its image has lost what sky was left in it, and is 0 where the mask says that there is no number.

    Raises
    ------
    UnusableInputError
        If a stage cannot do its work: too few stars, no astrometric match, no calibrators.
    """
    mask = np.where(np.isfinite(reference.image), 0, MaskBit.NAN.flag).astype(np.uint16)
    image = np.nan_to_num(reference.image, copy=True, nan=0.0)
    level = saturation(reference, work)
    given = _given(reference, work, settings, level, config)
    chain = Chain(given, _catalogs(settings), config, Buffers.of(reference.shape))
    try:
        return combine(chain.enter(image, mask, level).run(STAGES))
    except UnusableInputError as error:
        facts = {"stage": chain.stage} | error.facts
        raise UnusableInputError(
            error.reason, subject=f"reference {work.rfid}", remedy=error.remedy, **facts
        ) from error


def saturation(reference: Reference, work: ReferenceWork) -> float:
    """Return the level (DN of the co-add) from which on an epoch may have been saturated."""
    levels = [row["saturate"] * 10 ** (0.4 * (reference.zero_point - row["magzp"])) for row in work.epochs]
    return float(min(levels))


def view_of(reference: Reference, subject: str, mjd: float) -> QuadrantView:
    """Return where a co-add should look: its own grid is the camera."""
    ny, nx = reference.shape
    centre = tuple(float(v[0]) for v in reference.wcs.pixel_to_sky([(nx + 1) / 2], [(ny + 1) / 2]))
    x, y = pixel_grid(nx, ny)
    plane = np.stack(tangent.project(*reference.wcs.pixel_to_sky(x, y), (centre[0], centre[1])), axis=1)
    return QuadrantView(
        subject, Pointing(centre[0], centre[1], 0.0), mjd, model_of_plane(x, y, plane, nx, ny, 1)
    )


def _given(
    reference: Reference, work: ReferenceWork, settings: Settings, level: float, config: ExposureConfig
) -> ChainInput:
    camera = load_camera(settings.camera, settings.include)
    survey = load_survey(camera.survey, settings.include)
    subject = f"reference {work.rfid}"
    mjd = float(np.mean([row["obsjd"] for row in work.epochs])) - JD_OF_MJD_ZERO
    none = np.empty((0, 0))
    return ChainInput(
        subject=subject,
        camera=camera,
        quadrant=camera.quadrants[work.rfid.rcid],
        filter_name=survey.filter_by_fid(work.rfid.fid).name,
        raw=none.astype(np.uint16),
        overscan=none.astype(np.uint16),
        bias=none.astype(np.float32),
        flat=none.astype(np.float32),
        static_mask=none.astype(np.uint16),
        smooth=None,
        facts=ReadoutFacts(reference.gain, level),
        read_noise=reference.gain * float(np.nanmedian(reference.uncertainty)),  # all of it: the sky is gone
        pointing=Pointing(math.nan, math.nan, 0.0),
        mjd=mjd,
        exptime_s=float(np.mean([row["exptime"] for row in work.epochs])),
        airmass=None,
        calibration_age_d=0.0,
        ghost_model=config.ghosts.prior,
        view=view_of(reference, subject, mjd),
    )


def _catalogs(settings: Settings) -> Catalogs:
    return Catalogs(
        astrometric=partial(catalogs.astrometric_stars, settings),
        photometric=partial(catalogs.photometric_stars, settings),
        bright=_no_reflections,
    )


def _no_reflections(_centre: tuple[float, float], _radius_deg: float) -> BrightStars:
    raise AssertionError("the epochs' masks hold their ghosts already")
