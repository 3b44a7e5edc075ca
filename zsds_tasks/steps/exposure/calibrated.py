"""A calibrated image with everything measured on it: what products and rows are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.pixels.background import Background
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.science.astrometry import AstrometricSolution
from zsds_tasks.science.masking.ghost_stamps import GhostStamp
from zsds_tasks.science.photometry.apertures import ApertureCatalog
from zsds_tasks.science.photometry.depth import Depth
from zsds_tasks.science.photometry.psf_sources import PointSources
from zsds_tasks.science.photometry.zeropoint_solution import ZeroPoint
from zsds_tasks.science.quality.verdict import ScienceVerdict
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.given import known

Floats = NDArray[np.float64]
MAG_PER_RELATIVE_ERROR = 2.5 / np.log(10.0)


@dataclass(frozen=True)
class Calibrated:
    """Results of a chain that came to its end; columns (N) belong to `points`, columns (M) to `apertures`.

    Parameters
    ----------
    chain : Chain
        With image and mask: valid until the worker's next quadrant.
    ra, dec : (N) float64, degrees
    flags : (N) int32
    mag, mag_error, zpcorr : (N) float64
        Calibrated with the spatial term, which `zpcorr` is; NaN for flux not above zero.
    partner : (N) int64
        Row of `apertures` that is the same source; -1 for none.
    mag_aper, mag_aper_error : (M, n) float64
        With the growth curve's correction; NaN for flux not above zero.
    mag_auto, mag_auto_error : (M) float64
    """

    chain: Chain
    background: Background
    psf: PsfModel
    points: PointSources
    solution: AstrometricSolution
    zero_point: ZeroPoint
    apertures: ApertureCatalog
    depth: Depth
    verdict: ScienceVerdict
    ra: Floats
    dec: Floats
    flags: NDArray[np.int32]
    mag: Floats
    mag_error: Floats
    zpcorr: Floats
    partner: NDArray[np.int64]
    mag_aper: Floats
    mag_aper_error: Floats
    mag_auto: Floats
    mag_auto_error: Floats

    @property
    def ghost_stamps(self) -> tuple[GhostStamp, ...]:
        """Cut-outs around predicted ghosts and halos."""
        return self.chain.ghost_stamps

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a pixel."""
        return self.solution.wcs.pixel_scale_arcsec


def combine(chain: Chain) -> Calibrated:
    """Bring what the stages found into one system of magnitudes, and tell which sources are the same.

    Parameters
    ----------
    chain : Chain
        That has come to its end.
    """
    points, apertures, zero_point = known(chain.points), known(chain.apertures), known(chain.zero_point)
    zpcorr = np.asarray(zero_point.spatial.at(points.xpos, points.ypos), np.float64)
    mag = zero_point.magnitudes(points.flux, points.xpos, points.ypos)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = MAG_PER_RELATIVE_ERROR * points.sigflux / points.flux
        mag_error = np.where(points.flux > 0, relative, np.nan)
    level = zero_point.magzp + zero_point.spatial.at(apertures.xwin_image, apertures.ywin_image)
    return Calibrated(
        chain=chain,
        background=known(chain.background),
        psf=known(chain.psf),
        points=points,
        solution=known(chain.solution),
        zero_point=zero_point,
        apertures=apertures,
        depth=known(chain.depth),
        verdict=known(chain.verdict),
        ra=known(chain.ra),
        dec=known(chain.dec),
        flags=known(chain.flags),
        mag=mag,
        mag_error=mag_error,
        zpcorr=zpcorr,
        partner=partners(points, apertures, chain.config.partner_radius_px),
        mag_aper=apertures.mag_aper + level[:, None] + apertures.growth.correction,
        mag_aper_error=np.hypot(apertures.magerr_aper, apertures.growth.error),
        mag_auto=apertures.mag_auto + level,
        mag_auto_error=apertures.magerr_auto.astype(np.float64),
    )


def partners(points: PointSources, apertures: ApertureCatalog, radius_px: float) -> NDArray[np.int64]:
    """Return for each point source the row of the aperture catalogue that is the same source, or -1.

    An entry that is nearest to several point sources goes to the nearest of them.
    """
    found = np.full(len(points), -1, np.int64)
    if len(apertures) == 0 or len(points) == 0:
        return found
    tree = cKDTree(np.stack([apertures.xwin_image, apertures.ywin_image], axis=1), balanced_tree=False)
    places = np.stack([points.xpos, points.ypos], axis=1)
    distance, entry = tree.query(places, distance_upper_bound=radius_px)
    near = np.flatnonzero(np.isfinite(distance))
    near = near[np.argsort(distance[near], kind="stable")]
    _, first = np.unique(entry[near], return_index=True)
    found[near[first]] = entry[near[first]]
    return found
