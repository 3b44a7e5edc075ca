"""Times as a clock at the Sun would show them: light's way to the Earth taken out."""

from __future__ import annotations

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

DAYS_PER_AU = 499.004783836 / 86_400.0
"""Light time of one astronomical unit (IAU 2012 definition over the speed of light), days."""
_MJD_ZERO = 2_400_000.5


def heliocentric_mjd(mjd: ArrayLike, ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.float64]:
    """Return the heliocentric time of light that reaches the Earth from a place on the sky.

    Parameters
    ----------
    mjd : array_like, float64
        Modified Julian Date, UTC.
    ra_deg, dec_deg : array_like, float64, degrees
        ICRS; broadcast against `mjd`.

    Returns
    -------
    numpy.ndarray, float64
        Modified Julian Date, UTC, up to 8.4 minutes from `mjd`. UTC in place of TDB moves the Earth by
        69 s of its way: 0.007 s of light time.
    """
    times, ra, dec = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (mjd, ra_deg, dec_deg)))
    instants, which = np.unique(times, return_inverse=True)
    heliocentric, _ = erfa.epv00(_MJD_ZERO, instants)
    earth = np.atleast_2d(heliocentric["p"])[which.reshape(times.shape)]
    alpha, delta = np.radians(ra), np.radians(dec)
    star = np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)
    found: NDArray[np.float64] = times + np.sum(earth * star, axis=-1) * DAYS_PER_AU
    return found
