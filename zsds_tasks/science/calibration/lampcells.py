"""Mean signal of LED flats in square cells: what linearity, shutter and lamp maps are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import mesh_shape
from zsds_tasks.science.calibration.detrend import detrend
from zsds_tasks.science.calibration.masters import MIN_NOISE_DN, ChannelFacts, Readout
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.calibration.robust import SIGMA_PER_MAD

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
SAMPLE_STEP = 5
"""Median and MAD of a cell, which only bound its mean, come from every fifth pixel of every fifth row."""
MIN_SAMPLE = 100
"""Of fewer good pixels than so many all are taken."""


class LampConfig(Declaration):
    """How the light of flats is measured in cells."""

    cell_px: Annotated[int, Field(ge=8)] = Field(128, description="side of a cell, px")
    clip_sigma: Annotated[float, Field(gt=0)] = Field(
        5.0, description="pixels further off their cell are out"
    )
    min_good: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="least share of good pixels of a cell; others have no number"
    )
    max_level_dn: Annotated[float, Field(gt=0)] = Field(
        52000.0, description="brighter cells, DN over the bias, have no number: some pixel may be saturated"
    )


@dataclass(frozen=True)
class LampCells:
    """Cells of the flats of one channel.

    Parameters
    ----------
    names : tuple of str (n)
        Of the frames.
    led : numpy.ndarray (n), int64
    exptime : numpy.ndarray (n), float64
        As commanded, s.
    mean : numpy.ndarray (n, my, mx), float64
        Signal over the bias before any correction of linearity, DN; NaN: no number.
    error : numpy.ndarray (n, my, mx), float64
        Its error from photons and reading, DN.
    """

    names: tuple[str, ...]
    led: NDArray[np.int64]
    exptime: Floats
    mean: Floats
    error: Floats


def measure_lamps(
    frames: Iterable[tuple[Readout, float]],
    channel: ChannelFacts,
    bias: Image,
    overscan: OverscanConfig,
    config: LampConfig,
) -> LampCells:
    """Measure every flat of a channel in cells.

    Parameters
    ----------
    frames : iterable of (Readout, float)
        Flats, each with its exposure time, s; only one is held at a time.
    channel : ChannelFacts
        Its curve is not applied.
    bias : numpy.ndarray (ny, nx), float32
        Master bias, DN.
    overscan : OverscanConfig
    config : LampConfig

    Returns
    -------
    LampCells
    """
    cells = mesh_shape(bias.shape, config.cell_px)
    means, errors, names, leds, times = [], [], [], [], []
    signal = np.empty(bias.shape, np.float32)
    for readout, exptime in frames:
        model = fit_overscan(readout.overscan, channel.read_x, overscan)
        detrend(readout.image, model.level, saturation=channel.saturation, bias=bias, out=signal)
        mean, good = cell_means(signal, config.cell_px, config.clip_sigma)
        area = cell_areas(bias.shape, config.cell_px)
        mean[(good < config.min_good * area) | (mean > config.max_level_dn)] = np.nan
        noise = max(model.noise, MIN_NOISE_DN)
        variance = np.maximum(mean, 0.0) / channel.gain + noise**2
        means.append(mean)
        errors.append(np.sqrt(variance / np.maximum(good, 1)))
        names.append(readout.name)
        leds.append(readout.led)
        times.append(exptime)
    shape = (len(names), *cells)
    return LampCells(
        tuple(names),
        np.array(leds, np.int64),
        np.array(times, np.float64),
        np.array(means, np.float64).reshape(shape),
        np.array(errors, np.float64).reshape(shape),
    )


def cell_means(image: Image, cell: int, clip_sigma: float) -> tuple[Floats, NDArray[np.int64]]:
    """Return the clipped means of square cells and how many pixels went into each.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        NaN: no sample.
    cell : int
        Side, px; the last cells of a row or column may be narrower.
    clip_sigma : float
        In 1.4826 MAD of the cell.

    Returns
    -------
    mean : numpy.ndarray (my, mx), float64
        NaN where nothing is left.
    good : numpy.ndarray (my, mx), int64
    """
    rows, columns = mesh_shape(image.shape, cell)
    middle, limit = np.full((rows, columns), np.nan), np.zeros((rows, columns))
    for i, (top, bottom) in enumerate(pairwise(_edges(image.shape[0], cell))):
        for j, (left, right) in enumerate(pairwise(_edges(image.shape[1], cell))):
            block = image[top:bottom, left:right]
            sample = block[::SAMPLE_STEP, ::SAMPLE_STEP]
            sample = sample[np.isfinite(sample)]
            if sample.size < MIN_SAMPLE:
                sample = block[np.isfinite(block)]
            if sample.size:
                middle[i, j] = np.median(sample)
                limit[i, j] = clip_sigma * SIGMA_PER_MAD * np.median(np.abs(sample - middle[i, j]))
    return _clipped_means(np.ascontiguousarray(image, np.float32), cell, middle, limit)


def cell_areas(shape: tuple[int, int], cell: int) -> NDArray[np.int64]:
    """Return the pixels (my, mx) of each cell."""
    down, across = (np.diff(_edges(n, cell)) for n in shape)
    return np.asarray(down[:, None] * across, np.int64)


def cell_centres(shape: tuple[int, int], cell: int) -> tuple[Floats, Floats]:
    """Return x and y, each (my, mx), of the middles of the cells' pixels, 0-based."""
    y, x = ((edges[:-1] + edges[1:] - 1) / 2.0 for edges in (_edges(n, cell) for n in shape))
    grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
    return grid_x, grid_y


def _edges(n: int, cell: int) -> NDArray[np.int64]:
    return np.minimum(np.arange(-(-n // cell) + 1) * cell, n)


@compiled("Tuple((f8[:, ::1], i8[:, ::1]))(f4[:, ::1], i8, f8[:, ::1], f8[:, ::1])", cache=True, nogil=True)
def _clipped_means(
    image: Image, cell: int, middle: Floats, limit: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    total, count = np.zeros(middle.shape), np.zeros(middle.shape, np.int64)
    ny, nx = image.shape
    for y in range(ny):
        i = y // cell
        for j in range(middle.shape[1]):
            centre, reach = middle[i, j], limit[i, j]
            partial, n = 0.0, 0
            for x in range(j * cell, min((j + 1) * cell, nx)):
                off = np.float64(image[y, x]) - centre
                if abs(off) <= reach:  # a NaN is not
                    partial += off
                    n += 1
            total[i, j] += partial
            count[i, j] += n
    for i in range(middle.shape[0]):
        for j in range(middle.shape[1]):
            total[i, j] = middle[i, j] + total[i, j] / count[i, j] if count[i, j] else np.nan
    return total, count
