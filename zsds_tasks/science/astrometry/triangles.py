"""A similarity between two sets of positions, by triangles of the same shape.

Needs neither pointing nor rotation: only the scale must be nearly right, and the image not mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.science.astrometry.config import SearchConfig

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MIN_SIDE = 0.05  # of the field: smaller triangles have no precise shape


@dataclass(frozen=True)
class Similarity:
    """A turn with scale and a shift: place' = factor * place + shift, on complex numbers, arcsec."""

    factor: complex
    shift: complex
    votes: int


def find_similarity(sources: Complex, catalog: Complex, config: SearchConfig) -> Similarity:
    """Find the similarity on which most triangles agree.

    Parameters
    ----------
    sources, catalog : (N), (M) complex128, arcsec (east + i north)
        The brightest of both; a few dozen.
    config : SearchConfig

    Returns
    -------
    Similarity
        With no votes if no triangles match.
    """
    none = Similarity(1.0 + 0j, 0j, 0)
    if len(sources) < 3 or len(catalog) < 3:
        return none
    size = float(np.abs(sources - sources.mean()).max())
    corners_s, shape_s = _triangles(sources, size, config)
    corners_c, shape_c = _triangles(catalog, size, config)
    if len(shape_s) == 0 or len(shape_c) == 0:
        return none
    pairs = cKDTree(shape_s).query_ball_tree(cKDTree(shape_c), 1.0, p=np.inf)
    of_source = np.repeat(np.arange(len(pairs)), [len(found) for found in pairs])
    if len(of_source) == 0:
        return none
    of_catalog = np.concatenate([found for found in pairs if found]).astype(np.int64)
    a, b = sources[corners_s[of_source]], catalog[corners_c[of_catalog]]
    factor = (b[:, 1] - b[:, 0]) / (a[:, 1] - a[:, 0])
    shift = b.mean(axis=1) - factor * a.mean(axis=1)
    return _most_agreed(factor, shift, size, config)


def _triangles(points: Complex, size: float, config: SearchConfig) -> tuple[Integers, Floats]:
    """Return corners, in the order of the sides opposite to them, and shapes in units of the tolerances."""
    corners = np.array(list(combinations(range(len(points)), 3)), np.int64)
    place = points[corners]
    sides = np.abs(place[:, [1, 2, 0]] - place[:, [2, 0, 1]])
    order = np.argsort(sides, axis=1)
    corners, sides = np.take_along_axis(corners, order, 1), np.take_along_axis(sides, order, 1)
    usable = (sides[:, 0] > MIN_SIDE * size) & (sides[:, 2] < 2.0 * size)
    corners, logs = corners[usable], np.log(sides[usable])
    place = points[corners]
    leg, other = place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]
    # Which way round the corners go: a turned triangle keeps it, a mirrored one does not.
    handed = np.sign(leg.real * other.imag - leg.imag * other.real)
    ratios = (logs[:, :2] - logs[:, 2:]) / config.pattern_shape_tolerance
    scale = logs[:, 2:] / config.pattern_scale_tolerance
    return corners, np.hstack([ratios, scale, 10.0 * handed[:, None]])


def _most_agreed(factor: Complex, shift: Complex, size: float, config: SearchConfig) -> Similarity:
    """Return the mean of the densest place of the candidates."""
    arm = size / 2  # turns and scales move stars by this lever
    place = np.stack([factor.real * arm, factor.imag * arm, shift.real, shift.imag], axis=1)
    place /= config.pattern_cluster_arcsec
    tree = cKDTree(place)
    votes = tree.query_ball_point(place, 1.0, return_length=True)
    members = tree.query_ball_point(place[int(np.argmax(votes))], 1.0)
    return Similarity(
        factor=complex(np.median(factor[members].real), np.median(factor[members].imag)),
        shift=complex(np.median(shift[members].real), np.median(shift[members].imag)),
        votes=len(members),
    )
