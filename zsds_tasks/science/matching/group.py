"""Objects over the sky: seeds of one star in all filters and overlapping fields, one object each.

Seeds of one unit are different stars. Seeds of two units are partners where each is the nearest to the other
of its unit, within the radius. Then leaders are elected in a fixed number of rounds: who has no partner of
higher rank left leads; the others join the nearest of their partners that lead, if any does. After the
last round those left stand alone. Ranks are fixed: sources of references before founded seeds, then the
lower objectid. A member is a partner of its leader: no chain of neighbours becomes one object, and no
object has two seeds of a unit.

Each round looks no farther than two radii, so an object depends only on seeds within
`GroupingConfig.margin_arcsec` of its members, and can be computed pixel by pixel with that margin.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    motions,
    move,
    table_of,
)
from zsds_tasks.science.matching.config import GroupingConfig
from zsds_tasks.science.matching.match import arcsec_of
from zsds_tasks.science.matching.rows import Seeds

UNIT_STEP = 10**8
"""An objectid over this is its unit."""


@dataclass(frozen=True)
class Groups:
    """The object of each seed.

    Parameters
    ----------
    leader : numpy.ndarray (s), int64
        Row of the seed that leads its object; its own if it does.
    objectid : numpy.ndarray (s), int64
        The leader's: the name of the object.
    separation : numpy.ndarray (s), float64, arcsec
        From the leader, at the common epoch.
    """

    leader: Integers
    objectid: Integers
    separation: Floats


def group(seeds: Seeds, config: GroupingConfig) -> Groups:
    """Group the seeds of all units into objects.

    Parameters
    ----------
    seeds : Seeds
        Of the whole sky, or of a part of it with the margin around; in any order.
    config : GroupingConfig

    Returns
    -------
    Groups
        In the order of the seeds; valid for those at least the margin inside the part.
    """
    by_rank = np.lexsort((seeds.objectid, seeds.origin))
    ranked = seeds.take(by_rank)
    places = directions(ranked.ra, ranked.dec)
    velocities = motions(ranked.ra, ranked.dec, ranked.pmra, ranked.pmdec)
    move(places.copy(), velocities, ranked.mjd0, config.epoch_mjd, places)
    offsets, partners, chords = partners_of(
        places,
        ranked.objectid // UNIT_STEP,
        chord(config.radius_arcsec),
    )
    leader, apart = elect(offsets, partners, chords, config.rounds)
    led, separation = np.empty(len(seeds), np.int64), np.empty(len(seeds))
    led[by_rank], separation[by_rank] = by_rank[leader], arcsec_of(apart)
    return Groups(led, seeds.objectid[led], separation)


@njit(cache=True)
def partners_of(places: Floats, unit: Integers, reach: float) -> tuple[Integers, Integers, Floats]:
    """Return the nearest seed of each other unit: where each row's begin (s + 1), their rows, their chords.

    A row of -1 stands where the nearest has a nearer one itself.
    """
    heads, nexts, keys, shift = table_of(places, reach)
    offsets = np.zeros(len(places) + 1, np.int64)
    rows, chords = np.empty(2 * len(places) + 16, np.int64), np.empty(2 * len(places) + 16)
    for row in range(len(places)):
        x, y, z = places[row, 0], places[row, 1], places[row, 2]
        end = offsets[row]
        for corner in range(8):
            key = corner_key(x, y, z, reach, SCALE / reach, corner)
            other = heads[bucket_of(key, shift)] if key >= 0 else -1
            while other >= 0:
                if keys[other] == key and unit[other] != unit[row]:
                    apart = between(places, other, x, y, z)
                    if apart <= reach:
                        if end == len(rows):
                            rows, chords = stretched(rows, chords)
                        end = keep_nearest(other, apart, unit, (offsets[row], end), (rows, chords))
                other = nexts[other]
        offsets[row + 1] = end
    return offsets, mutual(offsets, rows), chords


@njit(cache=True)
def keep_nearest(
    other: int, apart: float, unit: Integers, span: tuple[int, int], room: tuple[Integers, Floats]
) -> int:
    """Put a seed among the nearest of their units, or not; return where they end."""
    rows, chords = room
    slot = span[0]
    while slot < span[1] and unit[rows[slot]] != unit[other]:
        slot += 1
    is_new = slot == span[1]
    if is_new or apart < chords[slot] or (apart == chords[slot] and other < rows[slot]):
        rows[slot], chords[slot] = other, apart
    return span[1] + is_new


@njit(cache=True)
def mutual(offsets: Integers, rows: Integers) -> Integers:
    """Return the nearest of each row that have it for their nearest too, -1 for the others."""
    both = np.empty(offsets[-1], np.int64)
    for row in range(len(offsets) - 1):
        for slot in range(offsets[row], offsets[row + 1]):
            both[slot] = -1
            for back in range(offsets[rows[slot]], offsets[rows[slot] + 1]):
                if rows[back] == row:
                    both[slot] = rows[slot]
    return both


@njit(cache=True)
def stretched(rows: Integers, chords: Floats) -> tuple[Integers, Floats]:
    """Return copies with twice the room."""
    more_rows, more = np.empty(2 * len(rows), np.int64), np.empty(2 * len(rows))
    for i in range(len(rows)):
        more_rows[i], more[i] = rows[i], chords[i]
    return more_rows, more


@njit(cache=True)
def elect(offsets: Integers, partners: Integers, chords: Floats, rounds: int) -> tuple[Integers, Floats]:
    """Return the leader of each row and the chord to it; rows come in order of rank."""
    count = len(offsets) - 1
    leader, apart, elected = np.full(count, -1, np.int64), np.zeros(count), np.full(count, -1, np.int64)
    for turn in range(rounds):
        for row in range(count):
            if leader[row] < 0 and not is_outranked(row, turn, offsets, partners, leader, elected):
                leader[row], elected[row] = row, turn
        for row in range(count):
            best = nearest_elected(row, turn, offsets, partners, chords, elected) if leader[row] < 0 else -1
            if best >= 0:
                leader[row], apart[row] = partners[best], chords[best]
    for row in range(count):
        if leader[row] < 0:
            leader[row] = row
    return leader, apart


@njit(cache=True)
def is_outranked(
    row: int, turn: int, offsets: Integers, partners: Integers, leader: Integers, elected: Integers
) -> bool:
    """Say whether a partner of higher rank was undecided when the round began."""
    for slot in range(offsets[row], offsets[row + 1]):
        partner = partners[slot]
        if 0 <= partner < row and (leader[partner] < 0 or elected[partner] == turn):
            return True
    return False


@njit(cache=True)
def nearest_elected(
    row: int, turn: int, offsets: Integers, partners: Integers, chords: Floats, elected: Integers
) -> int:
    """Return the slot of the nearest partner elected in a round, of equal ones that of higher rank; or -1."""
    best = -1
    for slot in range(offsets[row], offsets[row + 1]):
        if partners[slot] >= 0 and elected[partners[slot]] == turn:
            is_nearer = best < 0 or chords[slot] < chords[best]
            if is_nearer or (chords[slot] == chords[best] and partners[slot] < partners[best]):
                best = slot
    return best
