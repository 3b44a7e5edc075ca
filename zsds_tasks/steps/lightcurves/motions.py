"""Proper motions of reference sources, lent by the astrometric catalogue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.science.astrometry import ReferenceStars
from zsds_tasks.sky.healpix import unit_vectors

Floats = NDArray[np.float64]


def motions_of(
    ra: Floats, dec: Floats, mjd: float, stars: ReferenceStars, radius_arcsec: float
) -> tuple[Floats, Floats]:
    """Return the proper motion of sources.

    Parameters
    ----------
    ra, dec : numpy.ndarray (n), float64, degrees
        Where they stood at `mjd`.
    mjd : float
    stars : ReferenceStars
    radius_arcsec : float
        A star farther from a source at that time is another one.

    Returns
    -------
    pmra, pmdec : numpy.ndarray (n), float64, mas per year
        0 where no star is near, or its motion is not known. A star lends it to its nearest source.
    """
    pmra, pmdec = np.zeros(len(ra)), np.zeros(len(ra))
    if not len(ra) or not len(stars):
        return pmra, pmdec
    places = cKDTree(unit_vectors(*stars.at(mjd)))
    chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
    apart, star = places.query(unit_vectors(ra, dec), distance_upper_bound=chord)
    near = np.flatnonzero(np.isfinite(apart))
    order = near[np.lexsort((near, apart[near]))]
    _, first = np.unique(star[order], return_index=True)
    owner = order[first]
    pmra[owner] = np.nan_to_num(stars.pmra[star[owner]])
    pmdec[owner] = np.nan_to_num(stars.pmdec[star[owner]])
    return pmra, pmdec
