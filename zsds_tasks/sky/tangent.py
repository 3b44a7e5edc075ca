"""The gnomonic projection between the sphere and a tangent plane, with a rotation; exact and vectorised."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
ARCSEC_PER_RADIAN = 206_264.806_247_096_36


def project(
    ra: ArrayLike, dec: ArrayLike, centre: tuple[float, float], rotation_deg: float = 0.0
) -> tuple[Floats, Floats]:
    """Return tangent-plane positions.

    Parameters
    ----------
    ra, dec : array_like (N), degrees
    centre : (ra, dec), degrees
        Where the plane touches the sphere.
    rotation_deg : float
        Position angle (east of north on the sky) to which the plane's second axis points.

    Returns
    -------
    east, north : (N) float64, arcsec
        NaN for directions 90 degrees or more from the centre.
    """
    x, y, z = _rotated(np.asarray(ra, float), np.asarray(dec, float), centre)
    with np.errstate(divide="ignore", invalid="ignore"):
        xi = np.where(z > 0, x / z, np.nan) * ARCSEC_PER_RADIAN
        eta = np.where(z > 0, y / z, np.nan) * ARCSEC_PER_RADIAN
    return turn(xi, eta, -rotation_deg)


def deproject(
    east: ArrayLike, north: ArrayLike, centre: tuple[float, float], rotation_deg: float = 0.0
) -> tuple[Floats, Floats]:
    """Inverse of `project`: ra in [0, 360) and dec, degrees."""
    xi, eta = turn(np.asarray(east, float), np.asarray(north, float), rotation_deg)
    xi, eta = xi / ARCSEC_PER_RADIAN, eta / ARCSEC_PER_RADIAN
    sin0, cos0 = np.sin(np.radians(centre[1])), np.cos(np.radians(centre[1]))
    across = cos0 - eta * sin0
    ra = centre[0] + np.degrees(np.arctan2(xi, across))
    dec = np.degrees(np.arctan2(sin0 + eta * cos0, np.hypot(xi, across)))
    return ra % 360.0, dec


def turn(east: ArrayLike, north: ArrayLike, angle_deg: float) -> tuple[Floats, Floats]:
    """Return vectors turned so that north moves toward east by an angle."""
    sin, cos = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    e, n = np.asarray(east, float), np.asarray(north, float)
    return e * cos + n * sin, n * cos - e * sin


def separation_deg(ra: ArrayLike, dec: ArrayLike, ra0: ArrayLike, dec0: ArrayLike) -> Floats:
    """Return great-circle distances, degrees; exact for small and large angles."""
    a, b = np.radians(np.asarray(dec, float)), np.radians(np.asarray(dec0, float))
    difference = np.radians(np.asarray(ra, float) - np.asarray(ra0, float))
    across = np.hypot(
        np.cos(a) * np.sin(difference),
        np.cos(b) * np.sin(a) - np.sin(b) * np.cos(a) * np.cos(difference),
    )
    along = np.sin(b) * np.sin(a) + np.cos(b) * np.cos(a) * np.cos(difference)
    distance: Floats = np.degrees(np.arctan2(across, along))
    return distance


def _rotated(ra: Floats, dec: Floats, centre: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Direction cosines toward east, north and the centre."""
    delta, d = np.radians(ra - centre[0]), np.radians(dec)
    sin0, cos0 = np.sin(np.radians(centre[1])), np.cos(np.radians(centre[1]))
    sin, cos = np.sin(d), np.cos(d)
    x = cos * np.sin(delta)
    y = sin * cos0 - cos * sin0 * np.cos(delta)
    z = sin * sin0 + cos * cos0 * np.cos(delta)
    return x, y, z
