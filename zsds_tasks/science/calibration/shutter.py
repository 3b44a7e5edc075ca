"""The time that a shutter adds to the commanded one, as a map of a channel (reference 3.5, item 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.mesh import Mesh, mesh_shape
from zsds_tasks.science.calibration.acceptance import MapLimits

Floats = NDArray[np.float64]


class ShutterConfig(Declaration):
    """Cells of the map and what it must satisfy."""

    cell_px: Annotated[int, Field(ge=8)] = Field(128, description="side of a cell, px")
    limits: MapLimits = MapLimits(max_noise=0.002, max_offset=0.003, max_change=0.001)


@dataclass(frozen=True)
class SmoothMap:
    """A smooth map of a channel and its uncertainty, on the same cells.

    Parameters
    ----------
    values, error : Mesh
        Seconds of a shutter; relative response of a star flat.
    """

    values: Mesh
    error: Mesh

    @property
    def noise(self) -> float:
        """Median uncertainty of a cell."""
        return float(np.median(self.error.values))


def smooth_map(values: Floats, error: Floats, cell: int, shape: tuple[int, int]) -> SmoothMap:
    """Return a map (my, mx) and its uncertainty as meshes of cells over an image (ny, nx)."""
    return SmoothMap(
        Mesh(np.ascontiguousarray(values, np.float32), cell, shape),
        Mesh(np.ascontiguousarray(error, np.float32), cell, shape),
    )


def mesh_nodes(shape: tuple[int, int], cell: int) -> tuple[Floats, Floats]:
    """Return x and y, each (my, mx), 0-based, at which the values of a `Mesh` stand."""
    rows, columns = mesh_shape(shape, cell)
    y, x = np.meshgrid(
        (np.arange(rows) + 0.5) * cell - 0.5, (np.arange(columns) + 0.5) * cell - 0.5, indexing="ij"
    )
    return x, y


def smooth_response(
    shape: tuple[int, int], exptime: float, shutter: Mesh | None, star_flat: Mesh | None
) -> Mesh | None:
    """Return the one map that an image is divided by: (t + dt) / t times the star flat.

    Parameters
    ----------
    shape : (ny, nx)
    exptime : float
        As commanded, s; of zero or less the shutter is left alone.
    shutter : Mesh or None
        Seconds added to the commanded time.
    star_flat : Mesh or None
        Relative response left after the high-frequency flat.

    Returns
    -------
    Mesh or None
        On the cells of the finer of the two; None without either.
    """
    maps = [m for m in (shutter, star_flat) if m is not None]
    if not maps:
        return None
    cell = min(m.cell for m in maps)
    x, y = mesh_nodes(shape, cell)
    values = np.ones(x.shape)
    if shutter is not None and exptime > 0:
        values *= (exptime + _at(shutter, x, y)) / exptime
    if star_flat is not None:
        values *= _at(star_flat, x, y)
    return Mesh(values.astype(np.float32), cell, shape)


def _at(mesh: Mesh, x: Floats, y: Floats) -> Floats:
    return mesh.at(x.ravel(), y.ravel()).astype(np.float64).reshape(x.shape)
