"""Neighbours on the sphere by hashed cells: unit vectors fall into cubes, cubes into buckets of a table.

A cube is eight radii wide, so what lies within a radius of a place is in two cubes on average and in eight
at most, whatever the part of the sky: poles and the turn of right ascension are no cases. A k-d tree
descends a dozen levels instead (docs/benchmarks.md).

Distances are chords between unit vectors: a function of the two places alone, never of what else is there,
so borders are decided alike by whichever part of a catalogue is looked at.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Links = NDArray[np.int32]
ARCSEC = math.pi / 180 / 3600
SCALE = 0.25  # cubes per reach
_BITS = 21
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads neighbouring keys


def chord(arcsec: float) -> float:
    """Return the chord of an angle, on the unit sphere."""
    return 2.0 * math.sin(arcsec * ARCSEC / 2.0)


@njit(cache=True)
def directions(ra_deg: Floats, dec_deg: Floats) -> Floats:
    """Return unit vectors (n, 3).

    One by one: numpy's vectorised sines need not give a row the same bits wherever it stands in an array, and
    the order of rows must not matter.
    """
    found = np.empty((len(ra_deg), 3))
    for i in range(len(ra_deg)):
        ra, dec = ra_deg[i] * (math.pi / 180.0), dec_deg[i] * (math.pi / 180.0)
        across = math.cos(dec)
        found[i, 0], found[i, 1], found[i, 2] = across * math.cos(ra), across * math.sin(ra), math.sin(dec)
    return found


@njit(cache=True)
def motions(ra_deg: Floats, dec_deg: Floats, pmra: Floats, pmdec: Floats) -> Floats:
    """Return velocities (n, 3), per day, tangent to the sphere, of proper motions in mas/yr."""
    found = np.empty((len(ra_deg), 3))
    unit = math.pi / 180.0 / 3.6e6 / 365.25
    for i in range(len(ra_deg)):
        ra, dec = ra_deg[i] * (math.pi / 180.0), dec_deg[i] * (math.pi / 180.0)
        east, north = pmra[i] * unit, pmdec[i] * unit
        found[i, 0] = -east * math.sin(ra) - north * math.sin(dec) * math.cos(ra)
        found[i, 1] = east * math.cos(ra) - north * math.sin(dec) * math.sin(ra)
        found[i, 2] = north * math.cos(dec)
    return found


@njit(cache=True)
def move(origin: Floats, velocity: Floats, epoch: Floats, day: float, vectors: Floats) -> None:
    """Write where seeds stand on a day: straight motion in space, seen from afar."""
    for i in range(len(velocity)):
        lapse = day - epoch[i]
        x = origin[i, 0] + velocity[i, 0] * lapse
        y = origin[i, 1] + velocity[i, 1] * lapse
        z = origin[i, 2] + velocity[i, 2] * lapse
        length = math.sqrt(x * x + y * y + z * z)
        vectors[i, 0], vectors[i, 1], vectors[i, 2] = x / length, y / length, z / length


@njit(cache=True)
def key_of(i: int, j: int, k: int) -> int:
    """Return the number of a cube."""
    return (i << (2 * _BITS)) | (j << _BITS) | k


@njit(cache=True)
def corner_key(x: float, y: float, z: float, reach: float, scale: float, corner: int) -> int:
    """Return the cube of a corner (of eight) of the box about a place; -1 where another corner has it."""
    key, before = 0, False
    for axis in range(3):
        value = x if axis == 0 else (y if axis == 1 else z)
        # A trifle more than the reach, so that rounding loses no neighbour.
        low, high = int((value - 1.001 * reach + 1.5) * scale), int((value + 1.001 * reach + 1.5) * scale)
        is_high = (corner >> axis) & 1 == 1
        before |= is_high and high == low
        key = (key << _BITS) | (high if is_high else low)
    return -1 if before else key


@njit(cache=True)
def between(vectors: Floats, row: int, x: float, y: float, z: float) -> float:
    """Return the chord from a row to a place: one sum for all, so that borders are decided alike."""
    dx, dy, dz = vectors[row, 0] - x, vectors[row, 1] - y, vectors[row, 2] - z
    return math.sqrt(dx * dx + dy * dy + dz * dz)


@njit(cache=True)
def bucket_of(key: int, shift: int) -> int:
    """Return the bucket of a cube, in a table of 2^(64 - shift)."""
    bucket: int = np.int64((np.uint64(key) * _ODD) >> np.uint64(shift))  # type: ignore[assignment]
    return bucket


@njit(cache=True)
def place(
    n: int, vectors: Floats, scale: float, heads: Links, nexts: Links, keys: Integers, shift: int
) -> None:
    """Put row n into the table; `scale` is cubes per unit length."""
    key = key_of(
        int((vectors[n, 0] + 1.5) * scale),
        int((vectors[n, 1] + 1.5) * scale),
        int((vectors[n, 2] + 1.5) * scale),
    )
    keys[n] = key
    bucket = bucket_of(key, shift)
    nexts[n] = heads[bucket]
    heads[bucket] = n


@njit(cache=True)
def new_table(count: int) -> tuple[Links, Links, Integers, int]:
    """Return an empty table for some places: heads, nexts, keys, shift."""
    bits = 4
    while (1 << bits) < 2 * count:
        bits += 1
    heads = np.empty(1 << bits, np.int32)
    heads[:] = -1
    return heads, np.empty(count, np.int32), np.empty(count, np.int64), 64 - bits


@njit(cache=True)
def table_of(vectors: Floats, reach: float) -> tuple[Links, Links, Integers, int]:
    """Return a table of places to be searched within chords up to `reach`."""
    heads, nexts, keys, shift = new_table(len(vectors))
    for n in range(len(vectors)):
        place(n, vectors, SCALE / reach, heads, nexts, keys, shift)
    return heads, nexts, keys, shift
