"""Quick-look of one raw readout channel: what its overscan and its counts say before any calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.histograms import cell_histograms, grouped_quantile, neighbour_noise

MIN_COLUMNS = 2  # of overscan: neighbours are compared


class QuickLookConfig(Declaration):
    """How a raw channel is measured."""

    overscan_skip_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        2 / 3, description="first part of the overscan columns, in reading order, left out: deferred charge"
    )
    drift_blocks: Annotated[int, Field(ge=2)] = Field(16, description="blocks of rows of the overscan's run")
    gradient_cells: Annotated[int, Field(ge=2, le=8)] = Field(4, description="cells along each side")
    bright_sigma: Annotated[float, Field(gt=0)] = Field(5.0, description="a pixel so far up is bright")


@dataclass(frozen=True)
class RawQuality:
    """Measures of one readout channel; the columns of raw_quality, which declares units and meaning."""

    bias_level: float
    bias_drift: float
    overscan_noise: float
    read_noise: float
    level: float
    noise: float
    gradient: float
    saturated_fraction: float
    zero_fraction: float
    bright_fraction: float


def measure(
    image: NDArray[np.uint16],
    overscan: NDArray[np.uint16],
    read_x: int,
    gain: float,
    saturation: float,
    config: QuickLookConfig,
) -> RawQuality:
    """Measure one readout channel.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), uint16, DN
    overscan : numpy.ndarray (ny, n_overscan), uint16, DN
        In the orientation of the stored array.
    read_x : int
        1 if columns are stored in reading order, -1 if mirrored.
    gain : float
        Electrons per DN.
    saturation : float
        DN.
    config : QuickLookConfig

    Returns
    -------
    RawQuality

    Raises
    ------
    ValueError
        If an image is empty or the overscan has fewer than two columns.
    """
    if image.size == 0 or overscan.shape[0] == 0 or overscan.shape[1] < MIN_COLUMNS:
        raise ValueError(f"nothing to measure in {image.shape} pixels with {overscan.shape} of overscan")
    bias = _quiet_columns(overscan, read_x, config)
    bias_level, drift = _bias_run(bias, config)
    overscan_noise = neighbour_noise(bias)
    cells = cell_histograms(np.ascontiguousarray(image), config.gradient_cells, config.gradient_cells)
    counts = cells.sum(axis=(0, 1))
    medians = np.array([grouped_quantile(cell, 0.5) for cell in cells.reshape(-1, cells.shape[-1])])
    median, noise = grouped_quantile(counts, 0.5), neighbour_noise(image)
    return RawQuality(
        bias_level=bias_level,
        bias_drift=drift,
        overscan_noise=overscan_noise,
        read_noise=overscan_noise * gain,
        level=median - bias_level,
        noise=noise if np.isfinite(noise) else 0.0,
        # A cell is empty only in images of fewer pixels than cells.
        gradient=float(np.nanmax(medians) - np.nanmin(medians)),
        saturated_fraction=_fraction_from(counts, saturation),
        zero_fraction=float(counts[0] / counts.sum()),
        bright_fraction=_fraction_from(counts, median + config.bright_sigma * max(noise, 0.0)),
    )


def _quiet_columns(overscan: NDArray[np.uint16], read_x: int, config: QuickLookConfig) -> NDArray[np.uint16]:
    """Return the columns that are read last, without the charge that trails behind the image."""
    n = overscan.shape[1]
    skipped = min(int(n * config.overscan_skip_fraction + 1e-9), n - MIN_COLUMNS)
    return np.ascontiguousarray(overscan[:, ::read_x][:, skipped:])


def _bias_run(bias: NDArray[np.uint16], config: QuickLookConfig) -> tuple[float, float]:
    """Return the overscan's median and the peak-to-peak of the medians of its blocks of rows."""
    blocks = np.array_split(bias, min(config.drift_blocks, bias.shape[0]), axis=0)
    medians = [_median(block) for block in blocks]
    return _median(bias), float(max(medians) - min(medians))


def _median(values: NDArray[np.uint16]) -> float:
    low = int(values.min())
    counts = np.bincount(values.ravel().astype(np.int64) - low)
    # A rounded zero stands for nothing below it: keep the level inside what a converter can give.
    return max(low + grouped_quantile(counts, 0.5), 0.0)


def _fraction_from(counts: NDArray[np.int64], threshold: float) -> float:
    """Return the fraction of pixels at or above a threshold."""
    first = int(np.ceil(np.clip(threshold, 0, counts.size)))
    return float(counts[first:].sum() / counts.sum())
