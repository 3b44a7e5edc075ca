"""Which sources are fitted together: those closer than they can be told apart by taking turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.pixels.kernels import compiled

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
TILE_PX = 64


@dataclass(frozen=True)
class Groups:
    """Sources in groups.

    Parameters
    ----------
    start : numpy.ndarray (G + 1), int64
        Group g is `member[start[g] : start[g + 1]]`.
    member : numpy.ndarray (N), int64
        Rows of the sources.
    """

    start: Indexes
    member: Indexes

    def __len__(self) -> int:
        """Return how many groups."""
        return len(self.start) - 1

    def of_sources(self) -> Indexes:
        """Return the group (N) of each source."""
        out = np.empty(len(self.member), np.int64)
        out[self.member] = np.repeat(np.arange(len(self)), np.diff(self.start))
        return out


def group_sources(x: Floats, y: Floats, link_px: float, most: int) -> Groups:
    """Join the closest pairs first, until groups are full or pairs too far apart.

    Parameters
    ----------
    x, y : numpy.ndarray (N), float64
        px.
    link_px : float
        Pairs further apart are not joined; friends of friends are.
    most : int
        Members of a group.

    Returns
    -------
    Groups
        In the order of square tiles of the image: neighbours in memory are handled one after the other.
    """
    n = len(x)
    parent = np.arange(n)
    if n > 1:
        pairs = cKDTree(np.column_stack([x, y])).query_pairs(link_px, output_type="ndarray").astype(np.int64)
        distance = np.hypot(x[pairs[:, 0]] - x[pairs[:, 1]], y[pairs[:, 0]] - y[pairs[:, 1]])
        order = np.lexsort((pairs[:, 1], pairs[:, 0], distance))
        _join(pairs[order], most, parent)
    tile = (y // TILE_PX).astype(np.int64) * 1_000_000 + (x // TILE_PX).astype(np.int64)
    member = np.lexsort((np.arange(n), parent, tile[parent]))
    first = np.flatnonzero(np.diff(parent[member], prepend=-1) != 0) if n else np.zeros(0, np.int64)
    return Groups(np.append(first, n).astype(np.int64), member.astype(np.int64))


@compiled("void(i8[:, ::1], i8, i8[::1])", cache=True, nogil=True)
def _join(pairs: Indexes, most: int, parent: Indexes) -> None:
    """Set each source's parent to the lowest member of its group."""
    size = np.ones(len(parent), np.int64)
    for k in range(len(pairs)):
        a, b = pairs[k, 0], pairs[k, 1]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b and size[a] + size[b] <= most:
            low, high = min(a, b), max(a, b)
            parent[high] = low
            size[low] = size[a] + size[b]
    for k in range(len(parent)):
        root = k
        while parent[root] != root:
            root = parent[root]
        parent[k] = root
