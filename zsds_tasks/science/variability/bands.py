"""One series out of an object's bands: each shifted to its median and brought to one amplitude."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.variability.curves import Floats

PRIOR_EPOCHS = 15.0  # weight of the assumption that all bands vary alike, as if seen from so many epochs
MOMENT = 0.01
SIGMA_PER_MAD = 1.4826
HALVINGS = 20
LEAST_RATIO, MOST_RATIO = 0.4, 2.5


@dataclass(frozen=True)
class Series:
    """Good epochs of one object.

    Parameters
    ----------
    t : (N) float64
        Days from the middle of the time base, ascending.
    y : (N) float64
        Magnitudes less the median of their band, over the amplitude of the band relative to all.
    w : (N) float64
        Weights, 1 over the square of the error of `y`.
    band : (N) int64
        0 to `n_bands` - 1.
    ratio : (n_bands) float64
        Relative amplitudes.
    """

    t: Floats
    y: Floats
    w: Floats
    band: NDArray[np.int64]
    ratio: Floats

    @property
    def n_bands(self) -> int:
        """Bands that take part."""
        return len(self.ratio)

    @cached_property
    def span(self) -> float:
        """Time base, days."""
        return float(np.ptp(self.t))

    @cached_property
    def n_moments(self) -> int:
        """Epochs further apart than `MOMENT` days: bands exposed together err alike from a folded shape."""
        return 1 + int((np.diff(self.t) > MOMENT).sum()) if len(self.t) else 0

    def with_ratio(self, ratio: Floats) -> Series:
        """Return the series under other relative amplitudes."""
        change = (self.ratio / ratio)[self.band]
        return Series(self.t, self.y * change, self.w / change**2, self.band, ratio)

    def with_jitter(self, model: Floats) -> Series:
        """Return the series with what scatters about a shape beyond the errors, added to them in quadrature.

        A star that changes from cycle to cycle, or errors that are too small, make the epochs of small
        errors no better than others. It is what makes the median of squared pulls that of a normal
        distribution: robust, and right where bands differ in error.
        """
        rest = self.y - model
        for b in range(self.n_bands):
            of = self.band == b
            rest[of] -= np.median(rest[of])
        squares, errors = (SIGMA_PER_MAD * rest) ** 2, 1.0 / self.w
        low, high = 0.0, float(np.median(squares))
        # The median falls as the variance rises: at `high` it is at most 1.
        for _ in range(HALVINGS if np.median(squares * self.w) > 1.0 else 0):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if np.median(squares / (errors + middle)) < 1.0 else (middle, high)
        return Series(self.t, self.y, 1.0 / (errors + low), self.band, self.ratio)

    def without_outliers(self, model: Floats) -> Series:
        """Return the series with less weight for epochs over 3 deviations from a shape (Huber's weights)."""
        w = self.w.copy()
        for b in range(self.n_bands):
            of = self.band == b
            rest = self.y[of] - model[of]
            pull = np.abs(rest - np.median(rest)) * np.sqrt(w[of])
            limit = 3.0 * max(SIGMA_PER_MAD * float(np.median(pull)), 1.0)
            w[of] *= np.minimum(1.0, limit / np.maximum(pull, 1e-12)) ** 2
        return Series(self.t, self.y, w, self.band, self.ratio)


def join_bands(
    mjd: Floats, mag: Floats, magerr: Floats, band: NDArray[np.generic], least: int, floor: float
) -> Series:
    """Make one series of the good epochs of an object.

    Amplitudes are those of the scatter beyond the errors; with few epochs they lean to 1.

    Parameters
    ----------
    mjd, mag, magerr : (N) float64
    band : (N) int
        Any numbers; bands with fewer than `least` epochs are left out.
    least : int
    floor : float
        Mag, added to errors in quadrature.
    """
    _, number, counts = np.unique(band, return_inverse=True, return_counts=True)
    keep = counts >= least
    rows = keep[number]
    places = np.cumsum(keep) - 1
    number = places[number[rows]].astype(np.int64)
    t, m, e = mjd[rows], mag[rows], np.hypot(magerr[rows], floor)
    n = int(keep.sum())
    y, variance, counted = np.empty(len(m)), np.empty(n), counts[keep].astype(np.float64)
    for b in range(n):
        of = number == b
        y[of] = m[of] - np.median(m[of])
        w = 1.0 / e[of] ** 2
        variance[b] = max(float(np.average(y[of] ** 2, weights=w) - 1.0 / w.mean()), 0.0)
    middle = float(np.average(variance, weights=counted)) if n else 1.0
    ratio = np.ones(n)
    if middle > 0.0:
        pooled = (counted * variance / middle + PRIOR_EPOCHS) / (counted + PRIOR_EPOCHS)
        ratio = np.clip(np.sqrt(pooled), LEAST_RATIO, MOST_RATIO)
    scale = ratio[number]
    start = 0.5 * (t.min() + t.max()) if len(t) else 0.0
    return Series(t - start, y / scale, (scale / e) ** 2, number, ratio)
