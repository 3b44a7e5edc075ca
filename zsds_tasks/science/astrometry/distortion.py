"""A-priori geometry of a readout channel: from pixels to the camera frame, as a polynomial.

The camera frame is the tangent plane of the boresight with camera north up, in arcseconds. In it the optics
stay the same from exposure to exposure, so a model learnt from good solutions helps the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds_tasks.sky import tangent
from zsds_tasks.sky.wcs import Wcs, monomials, n_terms
from zsds_tasks.survey.camera import Camera

Floats = NDArray[np.float64]
GRID = 12  # points along a side where mappings are sampled: far more than the coefficients of degree 5


@dataclass(frozen=True)
class DistortionModel:
    """Polynomial from normalised pixels (-1 to 1 over the longer side) to the camera frame.

    Parameters
    ----------
    nx, ny : int
        Pixels of the image.
    east, north : tuple of float, arcsec
        Coefficients in the order of `zsds_tasks.sky.wcs.monomials`.
    n_exposures : int
        How many solutions it is the mean of; 0 for the camera as drawn.
    """

    nx: int
    ny: int
    east: tuple[float, ...]
    north: tuple[float, ...]
    n_exposures: int = 0

    @property
    def degree(self) -> int:
        """Total degree."""
        return next(d for d in range(len(self.east)) if n_terms(d) == len(self.east))

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the image, FITS 1-based pixels."""
        return (self.nx + 1) / 2, (self.ny + 1) / 2

    @property
    def coefficients(self) -> Floats:
        """Both polynomials as columns, (n_terms, 2)."""
        return np.array([self.east, self.north]).T

    def camera_frame(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Return (east, north; arcsec) of FITS 1-based pixels."""
        px, py = np.asarray(x, np.float64), np.asarray(y, np.float64)
        plane = design(px.ravel(), py.ravel(), self.nx, self.ny, self.degree) @ self.coefficients
        return plane[:, 0].reshape(px.shape), plane[:, 1].reshape(px.shape)


def design(x: Floats, y: Floats, nx: int, ny: int, degree: int) -> Floats:
    """Return the monomials of normalised pixels, (N, n_terms)."""
    half = max(nx, ny) / 2
    return monomials((x - (nx + 1) / 2) / half, (y - (ny + 1) / 2) / half, degree)


def pixel_grid(nx: int, ny: int) -> tuple[Floats, Floats]:
    """Return pixels on a grid over the whole image, edges included, flattened."""
    x, y = np.meshgrid(np.linspace(0.5, nx + 0.5, GRID), np.linspace(0.5, ny + 0.5, GRID))
    return x.ravel(), y.ravel()


def nominal_model(camera: Camera, rcid: int) -> DistortionModel:
    """Return the geometry of a readout channel as the camera's declaration draws it, of degree 1."""
    shape = camera.quadrant
    x, y = pixel_grid(shape.nx, shape.ny)
    plane = np.stack([np.asarray(a) for a in camera.focal_plane(rcid, x, y)], axis=1)  # type: ignore[arg-type]
    return model_of_plane(x, y, plane, shape.nx, shape.ny, 1)


def learn_model(
    wcs: Wcs, nominal: DistortionModel, boresight: tuple[float, float], rotation_deg: float
) -> DistortionModel:
    """Return what a solution says about the camera, free of that exposure's pointing and rotator errors.

    Parameters
    ----------
    wcs : Wcs
        A good solution.
    nominal : DistortionModel
        The camera as drawn: shift and turn of the result are made to agree with it.
    boresight : (ra, dec), degrees
    rotation_deg : float
    """
    x, y = pixel_grid(nominal.nx, nominal.ny)
    east, north = tangent.project(*wcs.pixel_to_sky(x, y), boresight, rotation_deg)
    drawn = complex_plane(*nominal.camera_frame(x, y))
    seen = complex_plane(east, north)
    drawn_mean, seen_mean = drawn.mean(), seen.mean()
    overlap = np.vdot(seen - seen_mean, drawn - drawn_mean)
    seen = (seen - seen_mean) * overlap / abs(overlap) + drawn_mean
    plane = np.stack([seen.real, seen.imag], axis=1)
    model = model_of_plane(x, y, plane, nominal.nx, nominal.ny, max(wcs.degree, 1))
    return DistortionModel(model.nx, model.ny, model.east, model.north, n_exposures=1)


def mean_model(models: Sequence[DistortionModel]) -> DistortionModel:
    """Return the mean of models of one readout channel, each weighted by its exposures.

    Raises
    ------
    ValueError
        If there is none, or they differ in shape or degree.
    """
    if len({(m.nx, m.ny, m.degree) for m in models}) != 1:
        raise ValueError(
            f"the mean needs models of one shape and degree, got {len(models)} of several or none"
        )
    weights = np.array([max(m.n_exposures, 1) for m in models], np.float64)
    mean = np.average([m.coefficients for m in models], axis=0, weights=weights)
    return DistortionModel(
        models[0].nx, models[0].ny, tuple(mean[:, 0].tolist()), tuple(mean[:, 1].tolist()), int(weights.sum())
    )


def model_of_plane(x: Floats, y: Floats, plane: Floats, nx: int, ny: int, degree: int) -> DistortionModel:
    """Fit a model to places (N, 2; arcsec) of pixels."""
    coefficients = np.linalg.lstsq(design(x, y, nx, ny, degree), plane, rcond=None)[0]
    return DistortionModel(nx, ny, tuple(coefficients[:, 0].tolist()), tuple(coefficients[:, 1].tolist()))


def complex_plane(east: Floats, north: Floats) -> NDArray[np.complex128]:
    """Return places as complex numbers, so that turning and scaling are one multiplication."""
    return np.asarray(east + 1j * north, np.complex128)
