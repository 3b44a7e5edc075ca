"""Sun, Moon and the local sky of an observer, from the closed-form theories in ERFA; no network, no tables.

UT1 is taken as UTC (within 0.9 s, 13 arcsec of hour angle) and TAI - UTC as 37 s, its value since the first
night of the survey. ERFA is the library that astropy itself computes with.
"""

from __future__ import annotations

from dataclasses import dataclass

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MJD_EPOCH = 2_400_000.5
TT_MINUS_UTC_S = 69.184
KM_PER_AU = 149_597_870.7
EARTH_TURNS_RAD_PER_S = 7.292_115e-5


@dataclass(frozen=True)
class Observer:
    """A place on the Earth (WGS84): degrees, east positive, and metres."""

    latitude_deg: float
    longitude_deg: float
    elevation_m: float


def tt(mjd_utc: ArrayLike) -> Floats:
    """Return terrestrial time (taken as TDB too: they differ by 2 ms) as MJD."""
    return np.asarray(mjd_utc, float) + TT_MINUS_UTC_S / 86400.0


def sidereal_deg(mjd_utc: ArrayLike, observer: Observer) -> Floats:
    """Return the local apparent sidereal time, degrees in [0, 360)."""
    greenwich = erfa.gst06a(MJD_EPOCH, np.asarray(mjd_utc, float), MJD_EPOCH, tt(mjd_utc))
    return (np.degrees(greenwich) + observer.longitude_deg) % 360.0


def horizontal(
    ra: ArrayLike, dec: ArrayLike, mjd_utc: ArrayLike, observer: Observer
) -> tuple[Floats, Floats, Floats]:
    """Return hour angle (-180 to 180), azimuth (from north through east) and true altitude, degrees.

    Parameters
    ----------
    ra, dec : array_like (N), degrees
        ICRS directions; precession and nutation are applied, aberration (20 arcsec) and refraction are not.
    mjd_utc : array_like, scalar or (N)
    """
    matrix = erfa.pnm06a(MJD_EPOCH, tt(mjd_utc))
    direction = erfa.s2c(np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float)))
    ra_now, dec_now = erfa.c2s(erfa.rxp(matrix, direction))
    hour_angle = (sidereal_deg(mjd_utc, observer) - np.degrees(ra_now) + 180.0) % 360.0 - 180.0
    azimuth, altitude = erfa.hd2ae(np.radians(hour_angle), dec_now, np.radians(observer.latitude_deg))
    return hour_angle, np.degrees(azimuth) % 360.0, np.degrees(altitude)


def airmass(altitude_deg: ArrayLike) -> Floats:
    """Return the airmass at a true altitude (Kasten and Young 1989); infinite below the horizon."""
    altitude = np.asarray(altitude_deg, float)
    above = np.maximum(altitude, 0.0)
    mass = 1.0 / (np.sin(np.radians(above)) + 0.50572 * (above + 6.07995) ** -1.6364)
    return np.where(altitude > 0.0, np.maximum(mass, 1.0), np.inf)


def earth(mjd_utc: ArrayLike) -> tuple[Floats, Floats]:
    """Return heliocentric position (..., 3; au) and velocity (au/day) of the Earth, ICRS axes."""
    heliocentric, _ = erfa.epv00(MJD_EPOCH, tt(mjd_utc))
    return heliocentric["p"], heliocentric["v"]


def sun_velocity(mjd_utc: ArrayLike) -> Floats:
    """Return the Sun's barycentric velocity (..., 3; au/day): it moves by 0.03 arcsec in a light time."""
    heliocentric, barycentric = erfa.epv00(MJD_EPOCH, tt(mjd_utc))
    return np.asarray(barycentric["v"] - heliocentric["v"])


def site(mjd_utc: ArrayLike, observer: Observer) -> tuple[Floats, Floats]:
    """Return geocentric position (..., 3; au) and velocity (au/day) of an observer, ICRS axes."""
    fixed = erfa.gd2gc(
        erfa.WGS84,
        np.radians(observer.longitude_deg),
        np.radians(observer.latitude_deg),
        observer.elevation_m,
    )
    angle = erfa.gst06a(MJD_EPOCH, np.asarray(mjd_utc, float), MJD_EPOCH, tt(mjd_utc))
    sin, cos = np.sin(angle), np.cos(angle)
    x, y = fixed[0] * cos - fixed[1] * sin, fixed[0] * sin + fixed[1] * cos
    z = np.full_like(x, fixed[2])
    turning = EARTH_TURNS_RAD_PER_S * 86400.0
    position = np.stack([x, y, z], axis=-1) / (KM_PER_AU * 1000.0)
    velocity = np.stack([-y, x, np.zeros_like(x)], axis=-1) / (KM_PER_AU * 1000.0) * turning
    matrix = np.swapaxes(erfa.pnm06a(MJD_EPOCH, tt(mjd_utc)), -1, -2)
    return erfa.rxp(matrix, position), erfa.rxp(matrix, velocity)


def sun(mjd_utc: ArrayLike) -> tuple[Floats, Floats]:
    """Return the Sun's geocentric ICRS place, degrees."""
    position, _ = earth(mjd_utc)
    ra, dec = erfa.c2s(-position)
    return np.degrees(ra) % 360.0, np.degrees(dec)


def moon(mjd_utc: ArrayLike, observer: Observer) -> tuple[Floats, Floats, Floats]:
    """Return the Moon's topocentric ICRS place, degrees, and its illuminated fraction (0 to 1)."""
    geocentric = erfa.moon98(MJD_EPOCH, tt(mjd_utc))["p"]
    position = geocentric - site(mjd_utc, observer)[0]
    ra, dec = erfa.c2s(position)
    to_sun = -earth(mjd_utc)[0] - geocentric
    cosine = np.sum(-position * to_sun, axis=-1) / (
        np.linalg.norm(position, axis=-1) * np.linalg.norm(to_sun, axis=-1)
    )
    return np.degrees(ra) % 360.0, np.degrees(dec), (1.0 + cosine) / 2.0
