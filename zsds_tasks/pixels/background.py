"""Sky level and noise of an image, measured in square cells between the sources.

Most of the light of faint sources lies in pixels that no clipping can tell from sky. But it comes in patches,
and noise does not: a pixel is used only if the mean of the 24 pixels *around* it is not above the sky by more
than noise allows. In blank sky that says nothing about the pixel itself, so that median and scatter of the
pixels used stay without bias, while in a crowded field the pixels on the wings of sources are left out.
In images with correlated noise (resampled ones) the choice does bias: there set `patch_sigma` high.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.background_cells import coarse_cells, fine_cells
from zsds_tasks.pixels.background_grid import fill_gaps, median_filter, slopes
from zsds_tasks.pixels.mesh import Image, Mesh, mesh_shape


class BackgroundConfig(Declaration):
    """How the sky is measured."""

    cell: Annotated[int, Field(ge=16, le=1024)] = Field(128, description="side of a cell, pixels")
    filter_cells: Annotated[int, Field(ge=1, le=9)] = Field(
        3, description="side of the median filter, cells; odd"
    )
    patch_sigma: Annotated[float, Field(gt=0)] = Field(
        1.0, description="a pixel is left out if its surroundings are brighter, in sigma of their mean"
    )
    clip_sigma: Annotated[float, Field(ge=1.5)] = Field(
        2.5, description="of the pixels whose scatter is the noise"
    )
    min_pixels: Annotated[int, Field(ge=16)] = Field(
        200, description="used pixels a cell must have; others are filled from cells around"
    )


@dataclass(frozen=True)
class Background:
    """The sky of an image.

    Parameters
    ----------
    level : Mesh
        Sky level, in the image's unit.
    noise : Mesh
        Standard deviation of a sky pixel, in the image's unit.
    """

    level: Mesh
    noise: Mesh


def measure_background(
    image: Image, mask: NDArray[np.uint16], bits: int, config: BackgroundConfig
) -> Background:
    """Measure level and noise of the sky between the sources.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, C-contiguous
    mask : numpy.ndarray (ny, nx), uint16, C-contiguous
    bits : int
        Pixels with any of these bits, or without a finite value, are not used.
    config : BackgroundConfig

    Returns
    -------
    Background
        Finite everywhere.

    Raises
    ------
    ValueError
        If shapes disagree or no cell has enough usable pixels.
    """
    if image.shape != mask.shape or image.ndim != 2:
        raise ValueError(f"an image of {image.shape} pixels with a mask of {mask.shape}")
    shape = (image.shape[0], image.shape[1])
    rows, columns = mesh_shape(shape, config.cell)
    coarse = np.empty((2, rows, columns), np.float32)
    unusable = np.uint16(bits)
    coarse_cells(image, mask, unusable, config.cell, coarse)
    if not np.isfinite(coarse[0]).any():
        raise ValueError(f"no cell of {config.cell} px has pixels that can be used")
    start = median_filter(fill_gaps(coarse[0]), 3)
    scale = median_filter(fill_gaps(coarse[1]), 3)
    tilt = slopes(start)
    fine = np.empty((2, rows, columns), np.float32)
    fine_cells(
        image,
        mask,
        unusable,
        config.cell,
        np.stack([start, scale, *tilt]),
        np.array([config.patch_sigma, config.clip_sigma, config.min_pixels], np.float64),
        fine,
    )
    if not np.isfinite(fine[0]).any():
        raise ValueError(f"no cell of {config.cell} px has {config.min_pixels} pixels that can be used")
    level, noise = (median_filter(fill_gaps(part), config.filter_cells) for part in fine)
    return Background(Mesh(level, config.cell, shape), Mesh(noise, config.cell, shape))
