"""Identifiers of founded seeds: the cell of the unit's tangent plane in which the founding detection lies."""

from __future__ import annotations

import math

import numpy as np

from zsds_tasks.science.matching.cells import ARCSEC, directions
from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.matching.rows import Floats, Integers, Unit
from zsds_tasks.survey.identifiers import FOUNDED, ObjectId

SIDE = math.isqrt(FOUNDED)
"""Cells along a side of the plane: 7,071, 3,535 arcsec at half an arcsecond each."""


def founded_ids(ra: Floats, dec: Floats, unit: Unit, config: MatchingConfig) -> Integers:
    """Return the objectids of seeds founded in a unit.

    Where two fall into one cell the first keeps it and the others take the next free ones: two sources of one
    image less than a cell apart are rare, but both are there. Farther out than the plane reaches (an image
    off its field) cells repeat, and the same rule serves.

    Parameters
    ----------
    ra, dec : numpy.ndarray (s), float64, deg
        Of all founding detections of the unit, in canonical order.
    unit : Unit
    config : MatchingConfig

    Returns
    -------
    numpy.ndarray (s), int64
        Each once.
    """
    cell = _cells(ra, dec, unit, config.cell_arcsec)
    _, firsts = np.unique(cell, return_index=True)
    later = np.ones(len(cell), bool)
    later[firsts] = False
    taken = set(cell[firsts].tolist()) if later.any() else set()
    for k in np.flatnonzero(later).tolist():
        free = int(cell[k])
        while free in taken:
            free = (free + 1) % (SIDE * SIDE)
        taken.add(free)
        cell[k] = free
    return int(ObjectId(unit.field, unit.fid, unit.ccdid, unit.qid, FOUNDED)) + cell


def _cells(ra: Floats, dec: Floats, unit: Unit, side_arcsec: float) -> Integers:
    """Return cell numbers by the gnomonic projection about the unit's centre.

    Spelled out in single operations: a product of matrices may sum in another order for other lengths.
    """
    places = directions(ra, dec)
    sin0, cos0 = math.sin(math.radians(unit.dec)), math.cos(math.radians(unit.dec))
    sin, cos = math.sin(math.radians(unit.ra)), math.cos(math.radians(unit.ra))
    x, y, z = places[:, 0], places[:, 1], places[:, 2]
    inward = x * cos + y * sin
    toward = inward * cos0 + z * sin0
    toward = np.where(toward == 0.0, 1e-300, toward)  # 90 degrees off: any cell will do
    east = (y * cos - x * sin) / toward / ARCSEC
    north = (z * cos0 - inward * sin0) / toward / ARCSEC
    column = np.floor(np.clip(east / side_arcsec, -1e15, 1e15)).astype(np.int64) + SIDE // 2
    line = np.floor(np.clip(north / side_arcsec, -1e15, 1e15)).astype(np.int64) + SIDE // 2
    cells: Integers = column % SIDE + SIDE * (line % SIDE)
    return cells
