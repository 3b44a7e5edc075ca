"""Which of a million bodies may be seen in an exposure: all of them once a night, few of them exactly.

Once for a night every orbit is propagated to one instant. A body can be in an exposure if its place then is
nearer than the exposure's radius and what it moves until the exposure; only those get an ephemeris of
their own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.sky import ephemeris
from zsds_tasks.sky.ephemeris import Orbits
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.sky.horizon import Observer

AT_ONCE: Final = 20_000
"""Orbits propagated in one go: their arrays stay in the cache."""
MOTION_MARGIN, MARGIN_DEG = 1.3, 0.05
"""A body's motion changes within a night, most for those that are close."""
RA, DEC, MOTION, V_MAG = range(4)
SECONDS_PER_DAY: Final = 86_400.0


def coarse_places(orbits: Orbits, mjd_utc: float, observer: Observer) -> NDArray[np.float32]:
    """Return where bodies are seen at one instant, and how fast they move.

    Parameters
    ----------
    orbits : Orbits (N)
    mjd_utc : float
    observer : Observer

    Returns
    -------
    numpy.ndarray (N, 4), float32
        Right ascension and declination (degrees, to 0.1 arcsec), motion on the sky (degrees per day), V.
    """
    places = np.empty((len(orbits), 4), np.float32)
    for start in range(0, len(orbits), AT_ONCE):
        part = np.arange(start, min(start + AT_ONCE, len(orbits)))
        seen = ephemeris.observe(orbits.take(part), mjd_utc, observer)
        places[part, RA], places[part, DEC] = seen.ra, seen.dec
        motion = np.hypot(seen.rate_east, seen.rate_north)
        places[part, MOTION] = motion * SECONDS_PER_DAY / 3600.0
        places[part, V_MAG] = seen.v_mag
    return places


def may_be_near(
    places: NDArray[np.float32], days: float, centre: tuple[float, float], radius_deg: float
) -> NDArray[np.intp]:
    """Return the numbers of the bodies that may be within a radius of a place some time before or after.

    Parameters
    ----------
    places : numpy.ndarray (N, 4), float32
        As `coarse_places` returns them.
    days : float
        From then to the instant that is asked for.
    centre : (ra, dec), degrees
    radius_deg : float
    """
    ra, dec = np.radians(places[:, RA]), np.radians(places[:, DEC])
    toward = unit_vectors(*(np.array([angle]) for angle in centre))[0].astype(np.float32)
    cosine = np.cos(dec) * (toward[0] * np.cos(ra) + toward[1] * np.sin(ra)) + toward[2] * np.sin(dec)
    reach = radius_deg + MARGIN_DEG + MOTION_MARGIN * abs(days) * places[:, MOTION]
    return np.flatnonzero(cosine > np.cos(np.radians(np.minimum(reach, 180.0))))
