"""The astrometric residuals of one channel as a picture, on demand: solved again from its rows of sources."""

from __future__ import annotations

import numpy as np

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.astrometry import (
    DetectedSources,
    Pointing,
    QuadrantView,
    nominal_model,
    solve,
)
from zsds_tasks.science.astrometry.plot import residual_plot
from zsds_tasks.settings import Settings
from zsds_tasks.steps.exposure.catalogs import astrometric_stars
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.survey.camera import load_camera

SECONDS_PER_DAY = 86_400.0
COLUMNS = ("xpos", "ypos", "sigpos", "flux", "sigflux", "flags")


def plot_residuals(lakehouse: Lakehouse, settings: Settings, expid: int, rcid: int) -> bytes:
    """Return a PNG of the residuals against the astrometric catalogue.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    expid, rcid : int
        Exposure and readout channel.

    Raises
    ------
    UnusableInputError
        If the channel has no sources, or cannot be solved.
    """
    subject = f"exposure {expid}, channel {rcid}"
    where = {"expid": expid, "rcid": rcid}
    rows = lakehouse.table("sources").read(list(COLUMNS), where)
    if not rows.num_rows:
        raise UnusableInputError(
            "has no sources", subject=subject, remedy="look up its stage and reason in science_images"
        )
    exposure = lakehouse.table("raw_exposures").read(where={"expid": expid}).to_pylist()[0]
    camera, config = load_camera(settings.camera, settings.include), load_exposure_config(settings.include)
    x, y, sigpos, flux, sigflux, flags = (rows.column(name).to_numpy() for name in COLUMNS)
    sigma = sigpos / camera.mosaic.pixel_scale_arcsec
    good = (flux > 0) & np.isfinite(sigflux) & (sigma > 0)
    x, y, sigma, flux, sigflux = (v[good].astype(np.float64) for v in (x, y, sigma, flux, sigflux))
    sources = DetectedSources(x, y, sigma, sigma, flux, sigflux, flags[good].astype(np.int64))
    view = QuadrantView(
        subject,
        Pointing(exposure["ra"], exposure["dec"], exposure["rotator"]),
        exposure["obsmjd"] + exposure["exptime"] / 2 / SECONDS_PER_DAY,
        nominal_model(camera, rcid),
    )
    reach = view.search_radius_deg(config.astrometry.search.wide_radius_arcsec)
    solution = solve(sources, astrometric_stars(settings, view.centre, reach), view, config.astrometry)
    return residual_plot(solution, sources, (camera.quadrant.ny, camera.quadrant.nx), subject)
