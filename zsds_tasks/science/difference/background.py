"""The differential background: what of the sky is left between two images (reference section 6.2).

It is first measured where both images are sky. In crowded fields there is hardly any, and what is left holds
more starlight in the image of worse seeing; so the difference, where the PSFs agree, is looked at again.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.background_grid import fill_gaps
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh, mesh_shape
from zsds_tasks.pixels.zogy import Frame

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
PARTS, LEAST_PIXELS = 4, 16


class LevelConfig(Declaration):
    """How the differential background is measured."""

    cell_px: Annotated[int, Field(ge=32, le=1024)] = Field(192, description="side of a cell, px")
    filter_cells: Annotated[int, Field(ge=1, le=9)] = Field(3, description="side of the median filter, cells")
    source_sigma: Annotated[float, Field(gt=0)] = Field(
        3.0, description="pixels farther from the sky in either image belong to a source"
    )
    clip_sigma: Annotated[float, Field(gt=0)] = Field(2.5, description="of the differences averaged")
    step_px: Annotated[int, Field(ge=1, le=8)] = Field(
        2, description="every how manieth pixel and row counts"
    )
    least_share: Annotated[float, Field(gt=0, le=1)] = Field(0.05, description="of a cell that must be sky")
    target_sigma: Annotated[float, Field(gt=0)] = Field(
        0.1, description="median of the difference in each of 4 x 4 parts, in its noise, at most"
    )
    rounds: Annotated[int, Field(ge=0, le=3)] = Field(
        1,
        description="subtractions again, at most, with what is left of the level where it misses the target",
    )


def match_background(new: Frame, ref: Frame, mask: Mask, bits: int, config: LevelConfig) -> Mesh:
    """Measure the level of the new frame over the reference where there is sky in both.

    Parameters
    ----------
    new, ref : Frame
        Their scales are used, levels not.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        What is unusable.
    config : LevelConfig

    Returns
    -------
    Mesh
        DN of the new frame before its scale: what `Frame.level` takes. Cells without sky are as those
        around; zero where there is none at all.
    """
    shape = (new.image.shape[0], new.image.shape[1])
    rows, columns = mesh_shape(shape, config.cell_px)
    out = np.empty((rows, columns), np.float32)
    i, j = np.mgrid[:rows, :columns]
    x, y = (j.ravel() + 0.5) * config.cell_px, (i.ravel() + 0.5) * config.cell_px
    factors = np.array(
        [ref.factor(a, b) / new.factor(a, b) for a, b in zip(x, y, strict=True)], np.float32
    ).reshape(rows, columns)
    sigmas = [frame.noise.at(x, y).reshape(rows, columns) for frame in (new, ref)]
    settings = np.array([config.source_sigma, config.clip_sigma, config.least_share], np.float64)
    images = (new.image, ref.image, mask, np.uint16(bits))
    _levels(*images, config.cell_px, config.step_px, factors, sigmas[0], sigmas[1], settings, out)
    if not np.isfinite(out).any():
        return Mesh.constant(0.0, shape, config.cell_px)
    values = ndimage.median_filter(fill_gaps(out), config.filter_cells, mode="nearest")
    return Mesh(np.ascontiguousarray(values, np.float32), config.cell_px, shape)


def level_left(difference: Image, noise: float, config: LevelConfig) -> Mesh | None:
    """Measure the level left on a difference.

    Parameters
    ----------
    difference : numpy.ndarray (ny, nx), float32
        DN, NaN where unusable.
    noise : float
        Of one of its pixels in blank sky, DN.
    config : LevelConfig

    Returns
    -------
    Mesh or None
        DN of the difference; None where its medians reach the target, or nothing is usable.
    """
    shape = (difference.shape[0], difference.shape[1])
    sample = difference[:: config.step_px, :: config.step_px]
    parts = [
        _median(part) for band in np.array_split(sample, PARTS) for part in np.array_split(band, PARTS, 1)
    ]
    known = np.abs([value for value in parts if np.isfinite(value)])
    if not known.size or known.max() <= config.target_sigma * noise:
        return None
    cell, limit = config.cell_px, np.float32(config.clip_sigma * noise)
    out = np.full(mesh_shape(shape, cell), np.nan, np.float32)
    for i, j in np.ndindex(*out.shape):
        box = (slice(k * cell, (k + 1) * cell, config.step_px) for k in (i, j))
        values = difference[tuple(box)].ravel()
        values = values[np.isfinite(values)]
        if values.size >= LEAST_PIXELS:
            out[i, j] = _clipped_mean(values, limit)
    values = ndimage.median_filter(fill_gaps(out), config.filter_cells, mode="nearest")
    return Mesh(np.ascontiguousarray(values, np.float32), cell, shape)


def _median(part: Image) -> float:
    usable = part[np.isfinite(part)]
    return float(np.median(usable)) if usable.size else np.nan


@compiled("f4(f4[::1], f4)", cache=True, nogil=True)
def _clipped_mean(values: Image, limit: np.float32) -> np.float32:
    """Return the mean of the values within a limit of it, starting from the median."""
    level = np.float32(np.median(values))
    for _ in range(3):
        total, used = 0.0, 0
        for value in values:
            if abs(value - level) < limit:
                total += value
                used += 1
        if used == 0:
            break
        level = np.float32(total / used)
    return level


@compiled(
    "void(f4[:, ::1], f4[:, ::1], u2[:, ::1], u2, i8, i8, f4[:, ::1], f4[:, ::1], f4[:, ::1], f8[::1], "
    "f4[:, ::1])",
    cache=True,
    nogil=True,
)
def _levels(
    new: Image,
    ref: Image,
    mask: Mask,
    bits: np.uint16,
    cell: int,
    step: int,
    factors: Image,
    new_sigma: Image,
    ref_sigma: Image,
    settings: Floats,
    out: Image,
) -> None:
    """Write the clipped mean of new - factor x reference of each cell; NaN where hardly a pixel is sky.

    Sources are known by both images, so that noise is cut off alike to both sides of each.
    """
    ny, nx = new.shape
    values = np.empty((cell // step + 1) ** 2, np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            most_new = np.float32(settings[0]) * new_sigma[i, j]
            most_ref = np.float32(settings[0]) * ref_sigma[i, j]
            factor = factors[i, j]
            n, seen = 0, 0
            for y in range(i * cell, min(ny, (i + 1) * cell), step):
                for x in range(j * cell, min(nx, (j + 1) * cell), step):
                    seen += 1
                    a, b = new[y, x], ref[y, x]
                    # A comparison with NaN is false.
                    if abs(a) < most_new and abs(b) < most_ref and (mask[y, x] & bits) == 0:
                        values[n] = a - factor * b
                        n += 1
            out[i, j] = np.nan
            if n < settings[2] * seen or n < 16:
                continue
            limit = np.sqrt(new_sigma[i, j] ** 2 + (factor * ref_sigma[i, j]) ** 2)
            out[i, j] = _clipped_mean(values[:n], np.float32(settings[1]) * limit)
