"""Order statistics of integer pixels by counting: exact, in one pass, and finer than one count.

Counts of an ADC are rounded, so the plain median of a narrow distribution jumps by whole counts. The grouped
median spreads the pixels of each count evenly over the unit interval around it and interpolates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

LEVELS = 65536
ROUNDING_VARIANCE = 1.0 / 12.0  # of a value rounded to the nearest integer
SIGMA_SPAN = 2.0  # the 84.13th and 15.87th percentiles of a normal distribution are two sigma apart
ONE_SIGMA = 0.841344746
Counts = NDArray[np.int64]


@compiled("int64[:, :, ::1](uint16[:, ::1], int64, int64)", cache=True, nogil=True)
def cell_histograms(image: NDArray[np.uint16], rows: int, columns: int) -> Counts:
    """Count the pixel values of each cell of a grid laid over an image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), uint16
    rows, columns : int
        Cells along y and x, as equal as whole pixels allow.

    Returns
    -------
    numpy.ndarray (rows, columns, 65536), int64
    """
    ny, nx = image.shape
    counts = np.zeros((rows, columns, 65536), dtype=np.int64)
    for y in range(ny):
        row = y * rows // ny
        for column in range(columns):
            for x in range(-(-column * nx // columns), -(-(column + 1) * nx // columns)):
                counts[row, column, image[y, x]] += 1
    return counts


@compiled("int64[::1](uint16[:, ::1])", cache=True, nogil=True)
def difference_histogram(image: NDArray[np.uint16]) -> Counts:
    """Count the differences of each pixel to its left neighbour.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), uint16

    Returns
    -------
    numpy.ndarray (131071), int64
        Element i counts the differences i - 65535.
    """
    counts = np.zeros(2 * 65535 + 1, dtype=np.int64)
    ny, nx = image.shape
    for y in range(ny):
        for x in range(1, nx):
            counts[np.int64(image[y, x]) - np.int64(image[y, x - 1]) + 65535] += 1
    return counts


def grouped_quantile(counts: Counts, fraction: float) -> float:
    """Return a quantile of counted integers, interpolated inside the unit interval around each.

    Parameters
    ----------
    counts : numpy.ndarray (n), int64
        How often the values 0 to n - 1 occur.
    fraction : float
        0 to 1; 0.5 is the median.

    Returns
    -------
    float
        In the values' unit; NaN if nothing was counted.
    """
    running = np.cumsum(counts)
    total = int(running[-1]) if running.size else 0
    if total == 0:
        return float("nan")
    wanted = fraction * total
    value = min(int(np.searchsorted(running, wanted, side="left")), counts.size - 1)
    while counts[value] == 0:  # only for fraction 0: nothing lies below the first value
        value += 1
    below = int(running[value]) - int(counts[value])
    return value - 0.5 + (wanted - below) / int(counts[value])


def neighbour_noise(image: NDArray[np.uint16]) -> float:
    """Return the standard deviation of a pixel from the differences of neighbours along rows.

    Stars, gradients and the rounding of the ADC hardly count: half the span between the 16th and 84th
    percentiles, over the square root of two, less the variance of rounding.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), uint16

    Returns
    -------
    float
        In counts; 0 where all neighbours are equal, NaN without any.
    """
    counts = difference_histogram(np.ascontiguousarray(image))
    span = grouped_quantile(counts, ONE_SIGMA) - grouped_quantile(counts, 1 - ONE_SIGMA)
    # The interpolation adds a rounding variance of its own to the difference of two rounded values.
    variance = (span / SIGMA_SPAN) ** 2 / 2 - 1.5 * ROUNDING_VARIANCE
    return float(np.sqrt(np.fmax(variance, 0.0))) if np.isfinite(variance) else float("nan")
