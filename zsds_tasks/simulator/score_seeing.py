"""The FWHM that stars truly have on an image: air and optics, widened by the pixel and by diffusion."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from zsds_tasks.simulator.instrument.optics import Optics
from zsds_tasks.simulator.instrument.psf import SMALLEST_SIGMA_PX, PsfConfig, pixel_variance
from zsds_tasks.survey.camera import Camera


def true_fwhm_arcsec(
    seeing_arcsec: float, camera: Camera, rcid: int, config: PsfConfig, optics: Optics
) -> float:
    """Return the FWHM of the effective PSF in the middle of a channel.

    Parameters
    ----------
    seeing_arcsec : float
        FWHM of air and optics at the field's centre; see `zsds_tasks.simulator.products.Exposure`.
    camera : Camera
    rcid : int
    config : PsfConfig
        How the PSF drifts over the field.
    optics : Optics
        Names the half diagonal of the field.

    Returns
    -------
    float
        arcsec; the geometric mean of the axes, as ellipticity leaves it.
    """
    quadrant, scale = camera.quadrants[rcid], camera.mosaic.pixel_scale_arcsec
    u = quadrant.centre_east_arcsec / optics.radius_arcsec
    v = quadrant.centre_north_arcsec / optics.radius_arcsec
    drift = 1 + config.tilt[0] * u + config.tilt[1] * v + config.curvature * (u * u + v * v)
    variance = config.core.variances * (seeing_arcsec * drift / scale) ** 2 + pixel_variance(config)
    variance = np.maximum(variance, SMALLEST_SIGMA_PX**2)
    height = config.core.weights / variance

    def over_half(radius: float) -> float:
        return float(np.sum(height * (np.exp(-(radius**2) / (2 * variance)) - 0.5)))

    return 2 * scale * float(brentq(over_half, 0.0, 10 * np.sqrt(variance.max())))
