"""The statistics of scores: robust widths, medians by group and by bin, shares, separation of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
SIGMA_PER_MAD = 1.4826
LEAST_IN_BIN = 8
"""Bins of fewer values say nothing."""


def width(values: Numbers) -> float:
    """Return the robust standard deviation about the median; NaN of nothing."""
    return about_zero(values - np.median(values)) if len(values) else float("nan")


def about_zero(values: Numbers) -> float:
    """Return the robust standard deviation about zero, so that a common offset counts; NaN of nothing."""
    return float(SIGMA_PER_MAD * np.median(np.abs(values))) if len(values) else float("nan")


def by_bin(statistic: Any, values: Numbers, places: Numbers, edges: Numbers) -> list[float | None]:
    """Return a statistic of the values whose places fall into each bin; None where too few do."""
    number = np.digitize(places, edges) - 1
    found: list[float | None] = []
    for n in range(len(edges) - 1):
        inside = values[number == n]
        found.append(rounded(statistic(inside)) if len(inside) >= LEAST_IN_BIN else None)
    return found


def shares(part: Numbers, whole: Numbers) -> list[float | None]:
    """Return part over whole, bin by bin; None where there are too few."""
    return [rounded(p / w) if w >= LEAST_IN_BIN else None for p, w in zip(part, whole, strict=True)]


def rounded(value: float) -> float | None:
    """Return a number for JSON, to five significant digits; None of what is not finite."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


def centres(edges: Numbers) -> list[float]:
    """Return the middles of bins."""
    return [round(float(c), 4) for c in (edges[1:] + edges[:-1]) / 2]


def repeatability(values: Numbers, things: Numbers, frames: Numbers, rounds: int = 4) -> Floats:
    """Return what is left of repeated measures without each thing's and each frame's median.

    Parameters
    ----------
    values : (n) float
    things, frames : (n) int
        What was measured, and on which frame.
    rounds : int
        How often medians are removed in turn.

    Returns
    -------
    (n) float64
        NaN for things measured once. Scaled by sqrt(n / (n - 1)) for what each thing's median takes away, so
        that their scatter is that of one measure.
    """
    rest = pd.Series(np.asarray(values, np.float64))
    count = rest.groupby(things).transform("size").to_numpy(np.float64)
    rest[count < 2] = np.nan
    for _ in range(rounds):
        rest -= rest.groupby(things).transform("mean")
        rest -= rest.groupby(frames).transform("median")
    return np.asarray(rest.to_numpy(np.float64) * np.sqrt(count / np.maximum(count - 1, 1)))


def crossing(places: Numbers, values: Numbers, level: float) -> float:
    """Return where values first fall below a level from the left, between points; NaN if they never do.

    Parameters
    ----------
    places, values : (n) float
        In order of place; NaN values are left out.
    level : float
    """
    known = np.isfinite(values)
    x, y = np.asarray(places)[known], np.asarray(values)[known]
    below = np.flatnonzero((y[1:] < level) & (y[:-1] >= level))
    if not len(below):
        return float("nan")
    n = below[0]
    return float(x[n] + (y[n] - level) / (y[n] - y[n + 1]) * (x[n + 1] - x[n]))


def separation(low: Numbers, high: Numbers) -> float:
    """Return the chance that a value of `high` exceeds one of `low`: the area under the ROC curve.

    Parameters
    ----------
    low, high : (n_bins) int
        Histograms over the same bins, growing; values in one bin count as half.

    Returns
    -------
    float
        1 if they are apart, 0.5 if they are the same, NaN if one is empty.
    """
    if not low.sum() or not high.sum():
        return float("nan")
    below = np.cumsum(low) - low / 2
    return float((high * below).sum() / (low.sum() * high.sum()))
