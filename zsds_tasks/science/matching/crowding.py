"""Which matches are in doubt because the sky is crowded there.

Where a star is missing in an image (faint that night, or blended) another star near it must not be taken
for it. If the other has a seed, its detection goes there. If the reference did not separate it, only distance
tells: the expected number of such strangers within a radius r is at most pi r^2 times the density of
seeds. Beyond the r where that is three in a hundred, and beyond what both positions' errors allow, a match
is in doubt. It stays the star's all the same: a smaller matching radius would found a false seed wherever a
blend moves a star (measured in docs/source-matching.md).

Only seeds of the reference are counted: doubt is then a fact of the reference version and the match, whatever
nights have been seen.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from zsds_tasks.science.matching.cells import (
    SCALE,
    Floats,
    Integers,
    between,
    bucket_of,
    chord,
    corner_key,
    directions,
    table_of,
)
from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.matching.rows import Detections, Flags, Matches, Seeds


def doubtful(matches: Matches, seeds: Seeds, detections: Detections, config: MatchingConfig) -> Flags:
    """Say which matches may be of another star.

    Parameters
    ----------
    matches : Matches (n)
    seeds : Seeds
        Matched to; all the reference's of the unit.
    detections : Detections (n)
    config : MatchingConfig

    Returns
    -------
    numpy.ndarray (n), bool
        False without a seed.
    """
    is_matched = matches.seed >= 0
    seed = matches.seed[is_matched]
    safe = safe_radii(seeds, seeds.ra, seeds.dec, config)[seed]
    errors = np.hypot(seeds.sigma[seed], detections.sigma[is_matched])
    in_doubt = np.zeros(len(detections), bool)
    limit = np.maximum(safe, config.doubtful_sigmas * errors)
    in_doubt[is_matched] = matches.separation[is_matched] > limit
    return in_doubt


def safe_radii(seeds: Seeds, ra: Floats, dec: Floats, config: MatchingConfig) -> Floats:
    """Return the radius about places within which strangers are unlikely.

    Parameters
    ----------
    seeds : Seeds
        All the reference's of the unit.
    ra, dec : numpy.ndarray (n), float64, deg
        Places of seeds: each counts itself, which tells nothing of the others.
    config : MatchingConfig

    Returns
    -------
    numpy.ndarray (n), float64, arcsec
        At most the matching radius.
    """
    places = directions(np.ascontiguousarray(ra, float), np.ascontiguousarray(dec, float))
    reach = config.density_radius_arcsec
    counts = count_near(directions(seeds.ra, seeds.dec), places, chord(reach))
    density = np.maximum(counts - 1, 0) / (np.pi * reach**2)
    with np.errstate(divide="ignore"):
        radius = np.sqrt(config.doubtful_chance / (np.pi * density))
    smallest: Floats = np.minimum(radius, config.radius_arcsec)
    return smallest


@njit(cache=True)
def count_near(stars: Floats, places: Floats, reach: float) -> Integers:
    """Return how many stars lie within a chord of each place."""
    heads, nexts, keys, shift = table_of(stars, reach)
    counts = np.zeros(len(places), np.int64)
    for row in range(len(places)):
        x, y, z = places[row, 0], places[row, 1], places[row, 2]
        for corner in range(8):
            key = corner_key(x, y, z, reach, SCALE / reach, corner)
            star = heads[bucket_of(key, shift)] if key >= 0 else -1
            while star >= 0:
                counts[row] += keys[star] == key and between(stars, star, x, y, z) <= reach
                star = nexts[star]
    return counts
