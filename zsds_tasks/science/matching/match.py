"""Detections of a unit to its seeds, one to one in each image, where the seeds stood when it was taken."""

from __future__ import annotations

import numpy as np

from zsds_tasks.science.matching.cells import ARCSEC, chord, directions, motions
from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.matching.rows import Detections, Floats, Matches, Seeds
from zsds_tasks.science.matching.walk import walk


def match(seeds: Seeds, detections: Detections, config: MatchingConfig) -> Matches:
    """Return the seed of each detection.

    In each image, of all pairs within the radius the closest is kept, both leave, and so on; of equally
    close ones that of the lower objectid, then of the lower row. An image's result does not depend on
    what other images there are, nor any result on the order of rows.

    Parameters
    ----------
    seeds : Seeds
        Of the reference; what they do not explain goes to `found`.
    detections : Detections
        Of any number of images, in any order; fastest in canonical order.
    config : MatchingConfig

    Returns
    -------
    Matches
        In the order of the detections.

    Notes
    -----
    ztf-system.md section 11.1. Parallax is not applied: it stays below half the radius for all stars but
    the Sun's few nearest.
    """
    by_id = np.argsort(seeds.objectid)  # ties go to the lower objectid
    stars = seeds.take(by_id)
    are_moving = bool((seeds.pmra != 0.0).any() or (seeds.pmdec != 0.0).any())
    velocities = motions(stars.ra, stars.dec, stars.pmra, stars.pmdec)
    rows, order = detections.sorted()
    seed, separation = walk(
        rows.starts(np.arange(len(rows))),
        rows.mjd,
        directions(rows.ra, rows.dec),
        (
            directions(stars.ra, stars.dec),
            velocities if are_moving else np.empty((0, 3)),
            stars.mjd0,
        ),
        chord(config.radius_arcsec),
        False,
    )
    matched = np.full(len(rows), -1, np.int64)
    matched[order] = np.where(seed >= 0, by_id[seed] if len(by_id) else -1, -1)
    apart = np.full(len(rows), np.nan)
    apart[order] = arcsec_of(separation)
    return Matches(matched, apart)


def arcsec_of(chords: Floats) -> Floats:
    """Return the angles of chords, arcsec."""
    angles: Floats = 2.0 * np.arcsin(chords / 2.0) / ARCSEC
    return angles
