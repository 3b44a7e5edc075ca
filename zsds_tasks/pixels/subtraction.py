"""What subtracting one frame from another gives, whatever the method: images, and the PSF in every tile."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.psf_model import PsfModel

Image = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tiles:
    """How a frame is cut into cores, the last of each row and column smaller.

    Parameters
    ----------
    shape : (ny, nx)
    core : (cy, cx), px
    """

    shape: tuple[int, int]
    core: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], wanted: int) -> Tiles:
        """Cut a frame into equal cores of about `wanted` px."""
        return cls(shape, (_equal(shape[0], wanted), _equal(shape[1], wanted)))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.shape[0] // self.core[0]), -(-self.shape[1] // self.core[1])

    def __len__(self) -> int:
        """Return how many."""
        return self.grid[0] * self.grid[1]

    def core_of(self, k: int) -> tuple[slice, slice]:
        """Return the rows and columns of the core of a tile."""
        i, j = divmod(k, self.grid[1])
        y, x = i * self.core[0], j * self.core[1]
        return slice(y, min(y + self.core[0], self.shape[0])), slice(x, min(x + self.core[1], self.shape[1]))

    def middle(self, k: int) -> tuple[float, float]:
        """Return the middle (x, y) of the core of a tile, 0-based px."""
        rows, columns = self.core_of(k)
        return (columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2

    def at(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the tile (N) in which 0-based places (N) lie; the nearest for those outside."""
        rows, columns = self.grid
        i = np.clip(np.floor((np.asarray(y) + 0.5) / self.core[0]), 0, rows - 1)
        j = np.clip(np.floor((np.asarray(x) + 0.5) / self.core[1]), 0, columns - 1)
        return np.asarray(i * columns + j, np.int64)


@dataclass(frozen=True)
class Buffers:
    """What a subtraction writes, (ny, nx) float32 each: given again, nothing is allocated."""

    difference: Image
    score: Image
    sigma: Image

    @classmethod
    def of(cls, shape: tuple[int, int]) -> Buffers:
        """Allocate buffers for frames of a shape."""
        return cls(*(np.empty(shape, np.float32) for _ in range(3)))


@dataclass(frozen=True)
class Subtraction:
    """New frame minus reference.

    Parameters
    ----------
    difference : numpy.ndarray (ny, nx), float32
        D, DN; NaN where unusable.
    score : numpy.ndarray (ny, nx), float32
        S_corr: significance of a point source at each pixel, sigmas; NaN where unusable.
    sigma : numpy.ndarray (ny, nx), float32
        1 sigma of each pixel of `difference`, the light of sources included, DN.
    tiles : Tiles
    psfs : tuple of PsfModel (T)
        What a new source looks like in the difference of each tile: P_D, sum 1; all of one sampling.
    noise : numpy.ndarray (T), float64
        Of a pixel of `difference` in blank sky, DN.
    flux_score : numpy.ndarray (T), float64
        F_S: 1 sigma of the flux of a point source in blank sky is 1 / sqrt(F_S), DN.
    """

    difference: Image = field(repr=False)
    score: Image = field(repr=False)
    sigma: Image = field(repr=False)
    tiles: Tiles
    psfs: tuple[PsfModel, ...] = field(repr=False)
    noise: Floats
    flux_score: Floats

    def psf_at(self, x: float, y: float) -> PsfModel:
        """Return P_D of the tile at a 0-based place."""
        return self.psfs[int(self.tiles.at(np.array([x]), np.array([y]))[0])]

    def psf_stamp(self, size: int = 25) -> Image:
        """Return P_D (size, size) float32 of the tile nearest to the middle of the frame."""
        ny, nx = self.tiles.shape
        return self.psf_at((nx - 1) / 2, (ny - 1) / 2).stamp(0, 0, size)

    @cached_property
    def tables(self) -> Image:
        """P_D of all tiles as tables (T, S, S, n, n) float32; see `zsds_tasks.pixels.psf_splines`."""
        return np.ascontiguousarray(np.concatenate([psf.tables for psf in self.psfs]))

    @cached_property
    def fwhms(self) -> Floats:
        """FWHM of P_D in each tile (T), px."""
        return np.array([psf.fwhm for psf in self.psfs])


def _equal(n: int, wanted: int) -> int:
    """Return the side of equal parts of about `wanted` px that cover n."""
    return -(-n // max(1, round(n / wanted)))
