"""How far the magnitudes of each seed scatter, and how that depends on its brightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.science.relative.epochs import Bools, Floats, Rows, UnitEpochs, canonical_order, counting_sort
from zsds_tasks.science.relative.offsets import ImageOffsets

SIGMA_PER_MAD = 1.4826


@dataclass(frozen=True)
class SeedScatter:
    """Mean and scatter of each seed; all columns (n_seeds), NaN without two epochs.

    Parameters
    ----------
    n : int64
        Epochs that count: usable, on good images, not outliers.
    mag : float64, mag
        Their mean.
    rms : float64, mag
        Their standard deviation (n - 1).
    formal : float64, mag
        RMS of their formal errors.
    """

    n: Rows
    mag: Floats
    rms: Floats
    formal: Floats


def seed_scatter(epochs: UnitEpochs, mag: Floats, use: Bools, outlier_sigma: float = 5.0) -> SeedScatter:
    """Measure mean and scatter of every seed.

    Parameters
    ----------
    epochs : UnitEpochs
    mag : (n) float64, mag
        To be taken instead of those of the epochs: corrected ones (`ImageOffsets.applied`), or not.
    use : (n) bool
        Epochs that may count (`good_epochs`).
    outlier_sigma : float
        Epochs farther from the median of their seed, in 1.4826 MAD of it, do not count.

    Returns
    -------
    SeedScatter
        A function of the set of epochs, not of their order.
    """
    rows = np.flatnonzero(use & np.isfinite(mag))
    seed = np.ascontiguousarray(epochs.seed[rows], np.int64)
    image = np.ascontiguousarray(epochs.image[rows], np.int64)
    order, _ = canonical_order(seed, image, epochs.n_seeds, epochs.n_images)
    order = counting_sort(seed, order, epochs.n_seeds)
    starts = np.searchsorted(seed[order], np.arange(epochs.n_seeds + 1)).astype(np.int64)
    kept = rows[order]
    columns = (np.ascontiguousarray(values[kept], np.float64) for values in (mag, epochs.magerr))
    n, mean, rms, formal = _moments(*columns, starts, outlier_sigma)
    return SeedScatter(n, mean, rms, formal)


def good_epochs(epochs: UnitEpochs, images: ImageOffsets, unusable_flags: int) -> Bools:
    """Return (n) bool: epochs without a bad pixel on images that are good."""
    return epochs.usable(unusable_flags) & ~images.bad[epochs.image]


@compiled(
    "Tuple((i8[::1], f8[::1], f8[::1], f8[::1]))(f8[::1], f8[::1], i8[::1], f8)", cache=True, nogil=True
)
def _moments(
    mag: Floats, error: Floats, starts: Rows, outlier_sigma: float
) -> tuple[Rows, Floats, Floats, Floats]:
    size = len(starts) - 1
    n = np.zeros(size, np.int64)
    mean, rms, formal = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan)
    for k in range(size):
        first, last = starts[k], starts[k + 1]
        if last - first < 2:
            continue
        middle = np.median(mag[first:last])
        limit = np.inf
        if last - first >= 5:  # of fewer, the MAD says little
            limit = outlier_sigma * SIGMA_PER_MAD * np.median(np.abs(mag[first:last] - middle))
        total, squares, errors, count = 0.0, 0.0, 0.0, 0
        for e in range(first, last):
            r = mag[e] - middle
            if abs(r) <= limit:
                total += r
                squares += r * r
                errors += error[e] ** 2
                count += 1
        if count < 2:
            continue
        n[k] = count
        mean[k] = middle + total / count
        rms[k] = np.sqrt(max(squares - total * total / count, 0.0) / (count - 1))
        formal[k] = np.sqrt(errors / count)
    return n, mean, rms, formal


@dataclass(frozen=True)
class Repeatability:
    """Scatter against magnitude, before and after; rows are bins.

    Parameters
    ----------
    edges : (k + 1) float64, mag
    n : (k) int64
        Seeds.
    before, after : (k, 3) float64, mag
        16, 50 and 84 % quantiles of the seeds' scatter; NaN in an empty bin.
    """

    edges: Floats
    n: Rows
    before: Floats
    after: Floats


def repeatability(
    before: SeedScatter, after: SeedScatter, edges: NDArray[np.float64], min_epochs: int = 5
) -> Repeatability:
    """Tabulate the scatter of seeds before and after relative photometry.

    Parameters
    ----------
    before, after : SeedScatter
        Of the same seeds and epochs.
    edges : (k + 1) float64, mag
        Ascending.
    min_epochs : int
        Of a seed in both; those with fewer are left out.
    """
    edges = np.asarray(edges, np.float64)
    known = (np.minimum(before.n, after.n) >= min_epochs) & np.isfinite(after.mag)
    bins = np.where(known, np.searchsorted(edges, after.mag, side="right") - 1, -1)
    size = len(edges) - 1
    tables = np.full((2, size, 3), np.nan)
    for k in range(size):
        inside = bins == k
        if inside.any():
            for table, scatter in zip(tables, (before, after), strict=True):
                table[k] = np.quantile(scatter.rms[inside], [0.16, 0.5, 0.84])
    n = np.bincount(bins[(bins >= 0) & (bins < size)], minlength=size)
    return Repeatability(edges, n.astype(np.int64), tables[0], tables[1])
