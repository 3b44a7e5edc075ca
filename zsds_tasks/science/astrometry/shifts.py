"""The shift between two sets of positions, by a histogram of all their differences.

True pairs fall into one cell, chance pairs everywhere: robust against false detections, missing stars and a
model that is off by some arcseconds. What is left of rotation and distortion only smears the peak.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtrc

Floats = NDArray[np.float64]
NEIGHBOURHOOD_CELLS = 41  # over which the chance level is averaged; a peak counts little in it


@dataclass(frozen=True)
class ShiftPeak:
    """The best shift.

    Parameters
    ----------
    east, north : float, arcsec
        To be added to the sources.
    pairs : int
        Pairs in the 3 x 3 cells of the peak.
    expected : float
        Pairs expected there by chance.
    chance : float
        Probability of such a peak anywhere in the histogram among unrelated positions.
    """

    east: float
    north: float
    pairs: int
    expected: float
    chance: float

    def among(self, trials: int) -> ShiftPeak:
        """Return the same peak as the best of several histograms."""
        return replace(self, chance=min(1.0, self.chance * trials))


def find_shift(sources: Floats, catalog: Floats, radius: float, cell: float) -> ShiftPeak:
    """Find the shift that brings most sources onto stars.

    Parameters
    ----------
    sources : (N, 2) float64, arcsec
    catalog : (M, 2) float64, arcsec
        Covering the sources' area and `radius` around it, or the chance level is overestimated at the rim.
    radius : float, arcsec
        Largest shift along each axis.
    cell : float, arcsec

    Returns
    -------
    ShiftPeak
        With no pairs and chance 1 when no difference lies within the radius.
    """
    n = max(int(np.ceil(2 * radius / cell)), 3)
    east = (catalog[:, 0, None] - sources[None, :, 0]).ravel()
    north = (catalog[:, 1, None] - sources[None, :, 1]).ravel()
    near = (np.abs(east) < radius) & (np.abs(north) < radius)
    east, north = east[near], north[near]
    if len(east) == 0:
        return ShiftPeak(0.0, 0.0, 0, 0.0, 1.0)
    column = ((east + radius) * (n / (2 * radius))).astype(np.int64)
    row = ((north + radius) * (n / (2 * radius))).astype(np.int64)
    counts = np.bincount(row * n + column, minlength=n * n).reshape(n, n)
    rows = counts[:-2] + counts[1:-1] + counts[2:]
    boxes = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    peak_row, peak_column = (int(k) + 1 for k in np.unravel_index(int(np.argmax(boxes)), boxes.shape))
    pairs = int(boxes[peak_row - 1, peak_column - 1])
    # Clusters of stars make hills of chance pairs: the level is that of the neighbourhood, if higher.
    reach = NEIGHBOURHOOD_CELLS // 2
    around = counts[
        max(peak_row - reach, 0) : peak_row + reach + 1, max(peak_column - reach, 0) : peak_column + reach + 1
    ]
    neighbourhood = (int(around.sum()) - pairs) / around.size
    expected = 9.0 * max(neighbourhood, (len(east) - pairs) / n**2, 1e-6)
    inside = (np.abs(column - peak_column) <= 1) & (np.abs(row - peak_row) <= 1)
    return ShiftPeak(
        east=float(np.median(east[inside])),
        north=float(np.median(north[inside])),
        pairs=pairs,
        expected=float(expected),
        chance=float(min(1.0, pdtrc(pairs - 1, expected) * n * n)),
    )
