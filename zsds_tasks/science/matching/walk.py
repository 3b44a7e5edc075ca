"""Images one by one in canonical order: pairs of detections and seeds, each in at most one pair of an image.

The rule of an image: of all pairs within the radius the closest is kept, both leave, and so on. Equal
separations go to the lower seed, then to the lower detection. Pairs that are each other's nearest are in
that result, and nearly all are; only what they leave is sorted.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from zsds_tasks.science.matching.cells import (
    SCALE,
    Floats,
    Integers,
    Links,
    between,
    bucket_of,
    corner_key,
    move,
    new_table,
    place,
)


@njit(cache=True)
def walk(
    starts: Integers,
    days: Floats,
    places: Floats,
    seeds: tuple[Floats, Floats, Floats],
    reach: float,
    is_founding: bool,
) -> tuple[Integers, Floats]:
    """Pair the detections of images with seeds.

    Parameters
    ----------
    starts : (images + 1) int64
        Where each image begins among the detections.
    days : (n) float64
        Epoch of the detections, MJD.
    places : (n, 3) float64
        Unit vectors of the detections.
    seeds : vectors (s, 3), velocities (s, 3) per day, epoch (s)
        Velocities of no rows if no seed moves.
    reach : float
        The radius, as a chord.
    is_founding : bool
        Detections without a seed become seeds for the images after them; seeds must not move then.

    Returns
    -------
    seed : (n) int64
        -1 for none; when founding, the detection that founded the seed.
    separation : (n) float64
        As a chord; NaN for none.
    """
    origin, velocity, epoch = seeds
    scale = SCALE / reach
    known, used = len(origin), len(origin)
    room = known + len(places) if is_founding else known
    vectors = np.empty((room, 3))
    for i in range(known):
        copy(i, origin, i, vectors)
    heads, nexts, keys, shift = new_table(room)
    founder, taken, nearest_of_seed = minus_ones(room), minus_ones(room), minus_ones(room)
    found, nearest = minus_ones(len(places)), minus_ones(len(places))
    separation = np.full(len(places), np.nan)
    chords, pairs = np.empty(256), np.empty((256, 2), np.int64)
    for image in range(len(starts) - 1):
        span = (starts[image], starts[image + 1])
        if image == 0 or len(velocity) > 0:
            move(origin, velocity, epoch, days[span[0]], vectors)
            heads[:] = -1
            for i in range(known):
                place(i, vectors, scale, heads, nexts, keys, shift)
        count, chords, pairs = pairs_of(
            span,
            places,
            vectors,
            (heads, nexts, keys, shift),
            reach,
            (nearest, nearest_of_seed),
            (chords, pairs),
        )
        settle(count, chords, pairs, (nearest, nearest_of_seed), taken, image, (found, separation))
        if is_founding:
            for row in range(span[0], span[1]):
                if found[row] >= 0:
                    found[row] = founder[found[row]]
                else:
                    copy(row, places, used, vectors)
                    place(used, vectors, scale, heads, nexts, keys, shift)
                    founder[used], found[row], separation[row] = row, row, 0.0
                    used += 1
    return found, separation


@njit(cache=True)
def pairs_of(
    span: tuple[int, int],
    places: Floats,
    vectors: Floats,
    table: tuple[Links, Links, Integers, int],
    reach: float,
    nearest: tuple[Integers, Integers],
    room: tuple[Floats, Integers],
) -> tuple[int, Floats, Integers]:
    """Return the pairs of an image within the radius: count, chords, (seed, detection).

    Writes the closest pair of each detection and of each seed into `nearest`.
    """
    heads, nexts, keys, shift = table
    of_row, of_seed = nearest
    chords, pairs = room
    count = 0
    for row in range(span[0], span[1]):
        x, y, z = places[row, 0], places[row, 1], places[row, 2]
        for corner in range(8):
            key = corner_key(x, y, z, reach, SCALE / reach, corner)
            seed = heads[bucket_of(key, shift)] if key >= 0 else -1
            while seed >= 0:
                if keys[seed] == key:
                    apart = between(vectors, seed, x, y, z)
                    if apart <= reach:
                        if count == len(chords):
                            chords, pairs = longer(chords, pairs)
                        chords[count], pairs[count, 0], pairs[count, 1] = apart, seed, row
                        if of_row[row] < 0 or before(count, of_row[row], chords, pairs):
                            of_row[row] = count
                        if of_seed[seed] < 0 or before(count, of_seed[seed], chords, pairs):
                            of_seed[seed] = count
                        count += 1
                seed = nexts[seed]
    return count, chords, pairs


@njit(cache=True)
def settle(
    count: int,
    chords: Floats,
    pairs: Integers,
    nearest: tuple[Integers, Integers],
    taken: Integers,
    image: int,
    result: tuple[Integers, Floats],
) -> None:
    """Decide the pairs of an image, and clear the seeds' nearest for the next."""
    of_row, of_seed = nearest
    found, separation = result
    for pair in range(count):
        seed, row = pairs[pair, 0], pairs[pair, 1]
        if of_row[row] == pair and of_seed[seed] == pair:
            found[row], separation[row], taken[seed] = seed, chords[pair], image
    rest = 0
    for pair in range(count):
        seed, row = pairs[pair, 0], pairs[pair, 1]
        of_seed[seed] = -1
        if found[row] < 0 and taken[seed] != image:
            chords[rest], pairs[rest, 0], pairs[rest, 1] = chords[pair], seed, row
            rest += 1
    sort(rest, chords, pairs)
    for pair in range(rest):
        seed, row = pairs[pair, 0], pairs[pair, 1]
        if found[row] < 0 and taken[seed] != image:
            found[row], separation[row], taken[seed] = seed, chords[pair], image


@njit(cache=True)
def copy(source: int, places: Floats, target: int, vectors: Floats) -> None:
    """Write a place into a row."""
    for axis in range(3):
        vectors[target, axis] = places[source, axis]


@njit(cache=True)
def minus_ones(count: int) -> Integers:
    """Return -1s."""
    return np.full(count, -1, np.int64)


@njit(cache=True)
def longer(chords: Floats, pairs: Integers) -> tuple[Floats, Integers]:
    """Return copies with twice the room."""
    more, more_pairs = np.empty(2 * len(chords)), np.empty((2 * len(chords), 2), np.int64)
    for i in range(len(chords)):
        more[i], more_pairs[i, 0], more_pairs[i, 1] = chords[i], pairs[i, 0], pairs[i, 1]
    return more, more_pairs


@njit(cache=True)
def before(a: int, b: int, chords: Floats, pairs: Integers) -> bool:
    """Say whether pair a goes before pair b: by separation, then seed, then detection."""
    if chords[a] != chords[b]:
        return chords[a] < chords[b]
    if pairs[a, 0] != pairs[b, 0]:
        return pairs[a, 0] < pairs[b, 0]
    return pairs[a, 1] < pairs[b, 1]


@njit(cache=True)
def sort(count: int, chords: Floats, pairs: Integers) -> None:
    """Sort the first pairs in place, as a heap: numpy's sorts take longer to compile than all the rest."""
    for step in range(count // 2 + count):
        root = count // 2 - 1 - step
        size = count
        if root < 0:  # the heap stands: its greatest goes to the end of what is left
            size = count - 1 - (step - count // 2)
            root = 0
            swap(0, size, chords, pairs)
        while 2 * root + 1 < size:
            child = 2 * root + 1
            if child + 1 < size and before(child, child + 1, chords, pairs):
                child += 1
            if before(child, root, chords, pairs):
                break
            swap(root, child, chords, pairs)
            root = child


@njit(cache=True)
def swap(a: int, b: int, chords: Floats, pairs: Integers) -> None:
    """Exchange two pairs."""
    chords[a], chords[b] = chords[b], chords[a]
    for k in range(2):
        pairs[a, k], pairs[b, k] = pairs[b, k], pairs[a, k]
