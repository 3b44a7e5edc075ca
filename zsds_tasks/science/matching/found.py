"""Seeds for what the reference lacks: founded by detections that no seed explains, in canonical order.

Images are taken in the order of epoch and pid. In each, detections go to founded seeds by `match`'s rule;
each of those left founds a seed where it stands, with which later images are matched. So the seeds are a
function of the set of detections, whatever order or portions they came in, and images later than all
others change nothing of what was there. A seed stays where it was founded: one that followed its
detections would drift along a chain of neighbours.

Only detections within the radius of one another can touch each other's fate, so chains of such detections are
islands: `refound` repeats the work only on those where something arrives or leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from zsds_tasks.science.matching.cells import (
    SCALE,
    between,
    bucket_of,
    chord,
    corner_key,
    directions,
    table_of,
)
from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.matching.match import arcsec_of
from zsds_tasks.science.matching.numbering import founded_ids
from zsds_tasks.science.matching.rows import FOUNDED, Detections, Flags, Floats, Integers, Seeds, Unit
from zsds_tasks.science.matching.walk import walk


@dataclass(frozen=True)
class Founding:
    """Which detection founded the seed of each detection.

    Parameters
    ----------
    founder : numpy.ndarray (n), int64
        Row of the detection that founded its seed; its own where it founded one.
    separation : numpy.ndarray (n), float64, arcsec
        From that place.
    """

    founder: Integers
    separation: Floats

    @property
    def founders(self) -> Integers:
        """Rows that founded a seed."""
        return np.flatnonzero(self.founder == np.arange(len(self.founder)))


def found(unmatched: Detections, config: MatchingConfig) -> Founding:
    """Found seeds from nothing.

    Parameters
    ----------
    unmatched : Detections
        All of a unit, or whole islands of them; in any order.
    config : MatchingConfig

    Returns
    -------
    Founding
        In the order of the detections.
    """
    rows, order = unmatched.sorted()
    founder, separation = walk(
        rows.starts(np.arange(len(rows))),
        rows.mjd,
        directions(rows.ra, rows.dec),
        (np.empty((0, 3)), np.empty((0, 3)), np.empty(0)),
        chord(config.radius_arcsec),
        True,
    )
    by, apart = np.empty(len(rows), np.int64), np.empty(len(rows))
    by[order], apart[order] = order[founder], arcsec_of(separation)
    return Founding(by, apart)


def refound(
    known: Detections, before: Founding, leaving: Flags, arriving: Detections, config: MatchingConfig
) -> tuple[Detections, Founding, Flags]:
    """Found again where something changed: the same as `found` on what is there afterwards, bit for bit.

    Parameters
    ----------
    known : Detections (n)
    before : Founding (n)
        Of `known`, all of it.
    leaving : numpy.ndarray (n), bool
        Rows that are no more, their image having been replaced.
    arriving : Detections (m)
        New rows, of earlier or later images.
    config : MatchingConfig

    Returns
    -------
    after : Detections
        The rows that stay, in their order, then those that arrived.
    founding : Founding
        Of `after`.
    is_touched : numpy.ndarray, bool
        Rows of `after` that were looked at; of the others neither seed nor separation changed.
    """
    stays = ~leaving
    # Bare arrays: an image that replaces another may bring the same pid and rows.
    hit = reached(
        np.concatenate([directions(known.ra, known.dec), directions(arriving.ra, arriving.dec)]),
        np.append(leaving, np.ones(len(arriving), bool)),
        chord(config.radius_arcsec),
    )
    kept = np.append(stays, np.ones(len(arriving), bool))
    after, is_touched = known.take(stays).join(arriving), hit[kept]
    number = np.cumsum(kept) - 1  # of a row of `together` in `after`
    founder = np.concatenate([number[before.founder[stays]], np.zeros(len(arriving), np.int64)])
    separation = np.concatenate([before.separation[stays], np.zeros(len(arriving))])
    again = np.flatnonzero(is_touched)
    part = found(after.take(again), config)
    founder[again], separation[again] = again[part.founder], part.separation
    return after, Founding(founder, separation), is_touched


def founded_seeds(
    unmatched: Detections, founding: Founding, unit: Unit, config: MatchingConfig
) -> tuple[Seeds, Integers]:
    """Return the founded seeds of a unit.

    Parameters
    ----------
    unmatched : Detections (n)
        All of the unit.
    founding : Founding (n)
    unit : Unit
    config : MatchingConfig

    Returns
    -------
    seeds : Seeds (s)
        In canonical order of their founders, at rest.
    seed : numpy.ndarray (n), int64
        Row of the seed of each detection.
    """
    rows = founding.founders
    rows = rows[unmatched.take(rows).order()]
    ones = unmatched.take(rows)
    rest = np.zeros(len(rows))
    seeds = Seeds(
        founded_ids(ones.ra, ones.dec, unit, config),
        ones.ra,
        ones.dec,
        rest,
        rest,
        ones.mjd,
        ones.sigma,
        np.full(len(rows), FOUNDED),
    )
    number = np.empty(len(unmatched), np.int64)
    number[rows] = np.arange(len(rows))
    return seeds, number[founding.founder]


@njit(cache=True)
def reached(places: Floats, starts: Flags, reach: float) -> Flags:
    """Say which rows hang together with the rows to start from, by steps within the radius."""
    heads, nexts, keys, shift = table_of(places, reach)
    hit, stack, height = starts.copy(), np.empty(len(places), np.int64), 0
    for row in range(len(places)):
        if starts[row]:
            stack[height] = row
            height += 1
    while height > 0:
        height -= 1
        row = stack[height]
        x, y, z = places[row, 0], places[row, 1], places[row, 2]
        for corner in range(8):
            key = corner_key(x, y, z, reach, SCALE / reach, corner)
            other = heads[bucket_of(key, shift)] if key >= 0 else -1
            while other >= 0:
                if keys[other] == key and not hit[other] and between(places, other, x, y, z) <= reach:
                    hit[other] = True
                    stack[height] = other
                    height += 1
                other = nexts[other]
    return hit
