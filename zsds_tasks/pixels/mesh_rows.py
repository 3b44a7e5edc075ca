"""A mesh spread along rows: what compiled loops over an image read where they need a smooth map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.mesh import Mesh


@dataclass(frozen=True)
class MeshRows:
    """The map at row y is across[node[y]] (1 - weight[y]) + across[node[y] + 1] weight[y].

    A map of 3072 x 3080 pixels is so 150 kB, which stays in the cache.

    Parameters
    ----------
    across : numpy.ndarray (at least 2, nx), float32
        The rows of the mesh, at every column.
    node : numpy.ndarray (ny), int64
        Row of `across` before each row of the image.
    weight : numpy.ndarray (ny), float32
        0 to 1.
    """

    across: NDArray[np.float32]
    node: NDArray[np.int64]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, mesh: Mesh) -> Self:
        """Spread a mesh."""
        (ny, nx), (my, mx) = mesh.shape, mesh.values.shape
        x = (np.arange(nx) + 0.5) / mesh.cell - 0.5
        across = np.array([np.interp(x, np.arange(mx), row) for row in mesh.values], np.float32)
        y = np.clip((np.arange(ny) + 0.5) / mesh.cell - 0.5, 0, my - 1)
        node = np.clip(y.astype(np.int64), 0, max(my - 2, 0))
        if my == 1:
            across = np.repeat(across, 2, axis=0)
        return cls(across, node, (y - node).astype(np.float32))
