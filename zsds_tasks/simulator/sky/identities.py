"""Numbers of simulated objects: family, place in the sky and running number in one 64-bit integer.

Computed from where an object was made, so that every process that meets it gives it the same number.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

CELL_BITS = 32
RUNNING_BITS = 24


class Family(IntEnum):
    """Who made an object."""

    STAR = 1
    BRIGHT_STAR = 2
    PLANTED_STAR = 3
    GALAXY = 4
    SUPERNOVA = 5
    TRANSIENT = 6
    ASTEROID = 7
    FAST_ASTEROID = 8
    SATELLITE = 9


def object_ids(family: Family, cell: int, count: int, *, start: int = 0) -> NDArray[np.int64]:
    """Return the numbers of `count` objects of a family in a cell (HEALPix tile, field, night)."""
    if not (0 <= cell < 1 << CELL_BITS and start >= 0 and start + count <= 1 << RUNNING_BITS):
        raise ValueError(f"cell {cell} or running number {start + count} does not fit an object number")
    first = (((int(family) << CELL_BITS) + cell) << RUNNING_BITS) + start
    return first + np.arange(count, dtype=np.int64)


def family_of(object_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the `Family` codes of objects."""
    return object_id >> (CELL_BITS + RUNNING_BITS)
