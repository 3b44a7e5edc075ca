"""A smooth map given at the middles of square cells: sky level, noise, corrections of response.

Between the middles it is bilinear, beyond the outermost it stays. A map of 3072 x 3080 pixels is so 2 kB in
memory instead of 38 MB, and is evaluated where it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """A smooth map over an image.

    Parameters
    ----------
    values : numpy.ndarray (my, mx), float32
        At the middles of the cells, finite; my = ceil(ny / cell), mx = ceil(nx / cell).
    cell : int
        Side of a cell, pixels. The last row and column of cells may reach beyond the image; their middle is
        taken where that of a whole cell would be.
    shape : (ny, nx)
        Of the image.
    """

    values: Image
    cell: int
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        expected = mesh_shape(self.shape, self.cell)
        if self.values.shape != expected:
            raise ValueError(f"{self.values.shape} cells of {self.cell} px for an image of {self.shape}")

    @classmethod
    def constant(cls, value: float, shape: tuple[int, int], cell: int = 256) -> Mesh:
        """Return a map that is the same everywhere."""
        return cls(np.full(mesh_shape(shape, cell), value, np.float32), cell, shape)

    @property
    def middles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The 0-based x and y of the middles of the cells, each (my, mx) float64."""
        rows, columns = np.mgrid[: self.values.shape[0], : self.values.shape[1]]
        return (columns + 0.5) * self.cell - 0.5, (rows + 0.5) * self.cell - 0.5

    def at(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> Image:
        """Return the map (N) float32 at 0-based positions (N)."""
        out = np.empty(len(x), np.float32)
        _sample(self.values, np.float64(self.cell), np.asarray(x, np.float64), np.asarray(y, np.float64), out)
        return out

    def expand(self, out: Image | None = None) -> Image:
        """Return the map at every pixel, (ny, nx) float32; written into `out` where given."""
        out = np.empty(self.shape, np.float32) if out is None else out
        out.fill(0.0)
        _accumulate(self.values, np.int64(self.cell), np.float32(1.0), out)
        return out

    def add_to(self, image: Image, factor: float = 1.0) -> None:
        """Add `factor` times the map to an image in place: -1 subtracts it."""
        if image.shape != self.shape:
            raise ValueError(f"a map of {self.shape} pixels for an image of {image.shape}")
        _accumulate(self.values, np.int64(self.cell), np.float32(factor), image)


def mesh_shape(shape: tuple[int, int], cell: int) -> tuple[int, int]:
    """Return how many cells (my, mx) cover an image."""
    return -(-shape[0] // cell), -(-shape[1] // cell)


@compiled("Tuple((i8, f8))(f8, i8)", cache=True, inline="always")
def _place(position: float, n: int) -> tuple[int, float]:
    """Return the node before a position in units of cells from the first middle, and how far beyond it."""
    if position <= 0 or n == 1:
        return 0, 0.0
    node = min(int(position), n - 2)
    return node, min(position - node, 1.0)


@compiled("void(f4[:, ::1], f8, f8[::1], f8[::1], f4[::1])", cache=True, nogil=True)
def _sample(values: Image, cell: float, x: Image, y: Image, out: Image) -> None:
    rows, columns = values.shape
    for k in range(len(x)):
        i, a = _place((y[k] + 0.5) / cell - 0.5, rows)
        j, b = _place((x[k] + 0.5) / cell - 0.5, columns)
        i1, j1 = min(i + 1, rows - 1), min(j + 1, columns - 1)
        top = values[i, j] * (1 - b) + values[i, j1] * b
        bottom = values[i1, j] * (1 - b) + values[i1, j1] * b
        out[k] = top * (1 - a) + bottom * a


@compiled("void(f4[:, ::1], i8, f4, f4[:, ::1])", cache=True, nogil=True, fastmath=True)
def _accumulate(values: Image, cell: int, factor: np.float32, image: Image) -> None:
    ny, nx = image.shape
    rows, columns = values.shape
    line = np.empty(columns, np.float32)
    for row in range(ny):
        i, a = _place((row + 0.5) / cell - 0.5, rows)
        i1 = min(i + 1, rows - 1)
        for j in range(columns):
            line[j] = factor * (values[i, j] * np.float32(1 - a) + values[i1, j] * np.float32(a))
        half = cell / 2.0 - 0.5
        first = min(nx, int(np.ceil(half)))
        for column in range(first):
            image[row, column] += line[0]
        for j in range(columns - 1):
            start = int(np.ceil(half + j * cell))
            end = min(nx, int(np.ceil(half + (j + 1) * cell)))
            slope = (line[j + 1] - line[j]) / np.float32(cell)
            base = line[j] - slope * np.float32(half + j * cell)
            for column in range(start, end):
                image[row, column] += base + slope * np.float32(column)
        for column in range(max(first, min(nx, int(np.ceil(half + (columns - 1) * cell)))), nx):
            image[row, column] += line[columns - 1]
