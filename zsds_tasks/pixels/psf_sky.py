"""The level that is left under the sources once they are subtracted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh, mesh_shape

Image = NDArray[np.float32]
CLIP_SIGMA = 2.5
ROUNDS = 4
SMOOTHED_CELLS = 3
LEAST_SHARE = 0.2


def remaining_sky(residual: Image, noise: Mesh, cell: int) -> Mesh:
    """Return the level of an image without sources, cells smoothed by the median of their neighbours.

    A background measured before stars are known holds the wings of all of them. This one does not.

    Parameters
    ----------
    residual : numpy.ndarray (ny, nx), float32
        DN, NaN where unusable.
    noise : Mesh
        Of the sky, DN per pixel; sets what is clipped.
    cell : int
        px.

    Returns
    -------
    Mesh
        DN per pixel; zero where hardly a pixel is usable.
    """
    shape = (residual.shape[0], residual.shape[1])
    rows, columns = mesh_shape(shape, cell)
    values = np.zeros((rows, columns), np.float32)
    i, j = np.mgrid[:rows, :columns]
    sky = noise.at((j.ravel() + 0.5) * cell, (i.ravel() + 0.5) * cell).reshape(rows, columns)
    _clipped_means(residual, sky, cell, values)
    return Mesh(ndimage.median_filter(values, SMOOTHED_CELLS, mode="nearest"), cell, shape)


@compiled("void(f4[:, ::1], f4[:, ::1], i8, f4[:, ::1])", cache=True, nogil=True)
def _clipped_means(residual: Image, noise: Image, cell: int, out: Image) -> None:
    """Write the clipped mean of every second pixel of every second row of each cell."""
    ny, nx = residual.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            level, limit = np.float32(0.0), np.float32(CLIP_SIGMA) * noise[i, j]
            for _ in range(ROUNDS):
                total, used, seen = 0.0, 0, 0
                for y in range(i * cell, min(ny, (i + 1) * cell), 2):
                    for x in range(j * cell, min(nx, (j + 1) * cell), 2):
                        seen += 1
                        if abs(residual[y, x] - level) < limit:
                            total += residual[y, x]
                            used += 1
                if used < LEAST_SHARE * seen:
                    level = np.float32(0.0)
                    break
                level = np.float32(total / used)
            out[i, j] = level
