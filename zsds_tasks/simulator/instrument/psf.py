"""The point-spread function: a mixture of elliptical Gaussians whose width and shape drift over the field.

A Moffat profile of beta = 3 (what long exposures through turbulence look like) is followed by three Gaussians
to 0.7 % of its peak and 0.2 % of its encircled energy. Gaussians convolve with one another in closed form, so
a galaxy, itself a mixture, costs no convolution. Each also takes up the pixel's own square and the diffusion
of charge, and is then sampled at pixel centres: an *effective* PSF. Sampling keeps its flux to under 1e-4:
the error of the sum, about 4 exp(-2 pi^2 sigma^2), is that small from sigma = 0.75 px on. In the best seeing
the core is narrower; it is widened to 0.65 px, and a star keeps its flux to 1e-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.products import Exposure, Floats
from zsds_tasks.survey.camera import Camera

FWHM_OF_SIGMA = 2.3548200450309493
SMALLEST_SIGMA_PX = 0.65


class Mixture(Declaration):
    """A round profile of unit flux as a sum of Gaussians; sigma in units of the profile's own size."""

    weight: tuple[float, ...]
    sigma: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Mixture:
        if len(self.weight) != len(self.sigma) or not self.weight:
            raise ValueError("weight and sigma must have the same number of values, at least one")
        if abs(sum(self.weight) - 1) > 1e-9:
            raise ValueError(f"weights must add up to 1, not {sum(self.weight)}")
        return self

    @property
    def weights(self) -> Floats:
        """Weights as an array."""
        return np.array(self.weight)

    @property
    def variances(self) -> Floats:
        """Squared sigmas as an array."""
        return np.array(self.sigma) ** 2


class PsfConfig(Declaration):
    """Shape of the PSF and of galaxies; how both vary."""

    core: Mixture = Field(description="the PSF; sigma in FWHM")
    exponential: Mixture = Field(description="a disc galaxy; sigma in half-light radii")
    de_vaucouleurs: Mixture = Field(description="an elliptical galaxy; sigma in half-light radii")
    aureole: Mixture = Field(description="scattered light; sigma in arcsec")
    aureole_fraction: Annotated[float, Field(ge=0, le=0.2)] = 0.015
    diffusion_px: Annotated[float, Field(ge=0, le=2)] = Field(0.3, description="sigma of charge diffusion")
    curvature: float = Field(0.08, description="relative growth of the FWHM at the half diagonal")
    tilt: tuple[float, float] = Field((0.05, -0.03), description="the same, linear, toward east and north")
    radial_ellipticity: float = Field(0.05, description="radial elongation at the half diagonal")


@dataclass(frozen=True)
class PsfShapes:
    """Second moments of the PSF in units of its core's: arrays of square pixels (xx, xy, yy)."""

    xx: Floats
    xy: Floats
    yy: Floats


def psf_shapes(
    exposure: Exposure,
    camera: Camera,
    config: PsfConfig,
    place: tuple[ArrayLike, ArrayLike],
    *,
    is_variable: bool = True,
) -> PsfShapes:
    """Return the squared FWHM tensor of the PSF at places in the camera frame.

    Parameters
    ----------
    exposure : Exposure
        Seeing, ellipticity and angle at the centre.
    camera : Camera
        Pixel scale and orientation.
    config : PsfConfig
        How the PSF drifts.
    place : tuple of array_like
        (east, north), arcsec.
    is_variable : bool
        False: the same PSF everywhere.

    Returns
    -------
    PsfShapes
        FWHM^2 along the pixel axes; a component's covariance is its variance times this.
    """
    east, north = (np.asarray(p, float) for p in place)
    radius = np.hypot(*camera.half_size_arcsec)
    u, v = east / radius * is_variable, north / radius * is_variable
    fwhm = exposure.seeing_fwhm_arcsec * (
        1 + config.tilt[0] * u + config.tilt[1] * v + config.curvature * (u * u + v * v)
    )
    double = 2 * np.deg2rad(exposure.psf_angle_deg)
    # Ellipticity as a spin-2 vector, so that the exposure's and the optics' add up.
    cosine = exposure.psf_ellipticity * np.cos(double) + config.radial_ellipticity * (v * v - u * u)
    sine = exposure.psf_ellipticity * np.sin(double) + config.radial_ellipticity * 2 * u * v
    ellipticity = np.minimum(np.hypot(cosine, sine), 0.8)
    length = np.maximum(np.hypot(cosine, sine), 1e-12)
    return _tensor(camera, fwhm, 1 - ellipticity, cosine / length, sine / length)


def galaxy_shapes(
    camera: Camera, half_light_arcsec: Floats, axis_ratio: Floats, angle_deg: Floats
) -> PsfShapes:
    """Return the squared half-light tensor of galaxies along the pixel axes, square pixels.

    The half-light radius given is the semi-major axis; zero for point sources.
    """
    double = 2 * np.deg2rad(angle_deg)
    ratio = np.clip(axis_ratio, 0.05, 1.0)
    # _tensor takes the geometric mean of the axes.
    return _tensor(camera, half_light_arcsec * np.sqrt(ratio), ratio, np.cos(double), np.sin(double))


def pixel_variance(config: PsfConfig) -> float:
    """Variance (square pixels) that the pixel's square and charge diffusion add to every component."""
    return 1 / 12 + config.diffusion_px**2


def _tensor(camera: Camera, size: Floats, ratio: Floats, cosine: Floats, sine: Floats) -> PsfShapes:
    """Tensor of an ellipse of this geometric-mean size (arcsec); cosine and sine are of twice the angle."""
    (sign_x, sign_y), scale = camera.axis_signs, camera.mosaic.pixel_scale_arcsec
    square = (size / scale) ** 2
    mean, half = square * (1 / ratio + ratio) / 2, square * (1 / ratio - ratio) / 2
    return PsfShapes(mean - half * cosine, sign_x * sign_y * half * sine, mean + half * cosine)
