"""What was measured on one image, for its verdict and its row of image_quality: as far as the chain came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.background import Background
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.astrometry import AstrometricSolution, DetectedSources
from zsds_tasks.science.photometry.depth import Depth, measure_depth
from zsds_tasks.science.photometry.psf_sources import PointSources
from zsds_tasks.science.photometry.spatial import cell_middles
from zsds_tasks.science.photometry.zeropoint_solution import ZeroPoint
from zsds_tasks.science.quality.science import ScienceMetrics, count_mask, double_share, expected_noise
from zsds_tasks.steps.exposure.given import known

if TYPE_CHECKING:
    from zsds_tasks.steps.exposure.chain import Chain

BRIGHT_SNR = 50.0
PSF_GRID = 4  # places along each side at which the PSF's width is compared


def measure_quality(chain: Chain) -> ScienceMetrics:
    """Return everything known of an image; None for what is not."""
    given = chain.given
    census = count_mask(chain.mask) if chain.reduced is not None else None
    area = chain.image.size * chain.pixel_scale_arcsec**2 / 3600.0**2
    facts: dict[str, Any] = {
        "filter_name": given.filter_name,
        "rcid": given.quadrant.rcid,
        "area_deg2": area,
        "airmass": given.airmass,
        "n_pixels": chain.image.size,
        "calibration_age_d": given.calibration_age_d,
        "n_spikes": chain.n_spikes,
        "n_tracks": chain.n_tracks,
    }
    if census is not None:
        facts |= {
            "masked_fraction": census.masked_fraction,
            "lost_fraction": census.lost_fraction,
            "n_saturated": census.counts[MaskBit.SATURATED],
        }
    if chain.background is not None:
        facts |= _of_background(chain.background, given.facts.gain, given.read_noise)
    facts |= _of_points(chain)
    if chain.solution is not None:
        facts |= _of_astrometry(chain.solution)
    if chain.zero_point is not None:
        facts |= _of_photometry(chain.zero_point, given.exptime_s)
    if chain.reflections is not None:
        facts |= {"n_ghosts": chain.reflections.n_ghosts, "n_halos": chain.reflections.n_halos}
    if chain.apertures is not None:
        facts |= {
            "n_aperture_sources": len(chain.apertures),
            "apcor": tuple(chain.apertures.growth.correction.tolist()),
        }
    return ScienceMetrics(**facts)


def _of_background(background: Background, gain: float, read_noise: float) -> dict[str, float]:
    sky, noise = float(np.median(background.level.values)), float(np.median(background.noise.values))
    return {
        "sky": sky,
        "sky_gradient": float(np.ptp(background.level.values)),
        "noise": noise,
        "noise_ratio": noise / expected_noise(sky, gain, read_noise),
    }


def _of_points(chain: Chain) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if chain.psf is not None:
        ny, nx = chain.shape
        across = [
            chain.psf.fwhm_at(nx * (i + 0.5) / PSF_GRID, ny * (j + 0.5) / PSF_GRID)
            for i in range(PSF_GRID)
            for j in range(PSF_GRID)
        ]
        facts |= {
            "fwhm": chain.psf.fwhm,
            "fwhm_range": float(np.ptp(across)),
            "elongation": max(chain.psf.elongation, 1.0),
            "elongation_angle": chain.psf.angle_deg,
            "n_psf_stars": chain.psf.n_stars,
        }
    if chain.points is not None:
        points = chain.points
        snr = points.flux / points.sigflux
        bright = (snr > BRIGHT_SNR) & np.isfinite(points.chi)
        facts |= {
            "n_sources": len(points.xpos),
            "psf_chi": float(np.median(points.chi[bright])) if bright.any() else None,
            "double_share": double_share(points.xpos, points.ypos, points.flux),
        }
    return facts


def _of_astrometry(solution: AstrometricSolution) -> dict[str, Any]:
    found, departure = solution.residuals, solution.departure
    return {
        "astrometry_rung": str(solution.rung),
        "n_astrometry": solution.n_matched,
        "rms_east": found.rms[0],
        "rms_north": found.rms[1],
        "rms_bright": float(np.mean(found.rms_bright)),
        "pointing_offset": float(np.hypot(*departure.pointing_arcsec)),
        "rotation_offset": departure.rotation_deg,
        "astrometry_cells": tuple(found.cells.ravel().tolist()),
    }


def _of_photometry(zero_point: ZeroPoint, exptime_s: float) -> dict[str, Any]:
    return {
        "zp30": zero_point.zp30(exptime_s),
        "zp_cells": tuple(zero_point.cells_before.ravel().tolist()),
        "zp_spatial_rms": zero_point.spatial.rms,
        "phot_pull": zero_point.pull,
        "nmatches": zero_point.nmatches,
        "magzprms": zero_point.magzprms,
        "colour_held": zero_point.colour_held,
    }


def detected_sources(points: PointSources, flags: NDArray[np.int32]) -> DetectedSources:
    """Return what the astrometric solver needs of point sources: those with a flux over zero and an error."""
    good = np.isfinite(points.sigflux) & (points.flux > 0)
    return DetectedSources(
        x=points.xpos[good],
        y=points.ypos[good],
        x_error=points.sigx[good],
        y_error=points.sigy[good],
        flux=points.flux[good],
        flux_error=points.sigflux[good],
        flags=flags[good].astype(np.int64),
    )


def measure_limits(chain: Chain) -> Depth:
    """Return how deep an image is, from its noise and PSF in the cells of the zero point's spatial terms."""
    config = chain.config
    x, y = cell_middles(chain.shape, config.zero_point.spatial.cells)
    background, psf = known(chain.background), known(chain.psf)
    noise = background.noise.at(x.ravel() - 1, y.ravel() - 1).reshape(x.shape).astype(np.float64)
    stamps = np.array(
        [[psf.stamp(a - 1, b - 1) for a, b in zip(*pair, strict=True)] for pair in zip(x, y, strict=True)]
    )
    ny, nx = chain.shape
    room = known(chain.reduced).saturation_level - float(np.median(background.level.values))
    middle = psf.stamp((nx - 1) / 2, (ny - 1) / 2)
    return measure_depth(known(chain.zero_point), noise, stamps, middle, room, (x, y), config.depth)
