"""What ties the units of a survey: means of the same stars in several of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.steps.objects.columns import numbers
from zsds_tasks.steps.objects.configuration import ObjectsConfig
from zsds_tasks.steps.objects.curves import STATISTICS
from zsds_tasks.steps.objects.stars import Grouped, group_seeds, rows_of
from zsds_tasks.steps.objects.work import PixelWork

OF_STATISTICS = ("objectid", "ngoodobs", "weightedmeanmag", "medmagerr", "is_candidate")
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ties:
    """Mean magnitudes of stars in units; columns (n).

    Parameters
    ----------
    objectid : int64
        The star: its object.
    unit : (n, 3) int64
        field, fid, rcid.
    mag, error : float64, mag
        Mean of the light curve, weighted, and its error.
    """

    objectid: Integers
    unit: Integers
    mag: Floats
    error: Floats

    def take(self, rows: Integers | NDArray[np.bool_]) -> Ties:
        """Return some of them."""
        return Ties(self.objectid[rows], self.unit[rows], self.mag[rows], self.error[rows])


def join_ties(parts: list[Ties]) -> Ties:
    """Return the ties of several pixels together."""
    if not parts:
        return Ties(np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros(0), np.zeros(0))
    names = ("objectid", "unit", "mag", "error")
    return Ties(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def ties_of_pixel(lakehouse: Lakehouse, work: PixelWork, config: ObjectsConfig) -> Ties:
    """Return the means of the stars of a pixel that two units of a filter or more have.

    Candidate variables are left out; of each filter no more than a number of stars is taken, those whose
    worst mean is the best.
    """
    grouped = group_seeds(lakehouse, work, config.pixels)
    ties = _means(grouped, rows_of(lakehouse, STATISTICS, grouped, OF_STATISTICS), config)
    kept = []
    for fid in np.unique(ties.unit[:, 1]):
        band = ties.take(ties.unit[:, 1] == fid)
        star, number, count = np.unique(band.objectid, return_inverse=True, return_counts=True)
        worst = np.zeros(len(star))
        np.maximum.at(worst, number, band.error)
        chosen = np.flatnonzero(count > 1)
        chosen = chosen[np.lexsort((star[chosen], worst[chosen]))][: config.calibration.stars_per_pixel]
        kept.append(band.take(np.isin(number, chosen)))
    return join_ties(kept)


def _means(grouped: Grouped, rows: pa.Table, config: ObjectsConfig) -> Ties:
    limits = config.calibration
    count, mag = numbers(rows, "ngoodobs"), numbers(rows, "weightedmeanmag")
    error = numbers(rows, "medmagerr") / np.sqrt(np.maximum(count, 1))
    steady = ~numbers(rows, "is_candidate", np.bool_)
    good = (count >= limits.least_epochs) & (error <= limits.most_error_mag) & (error > 0) & np.isfinite(mag)
    seed = np.searchsorted(grouped.seeds.objectid, numbers(rows, "objectid", np.int64))
    ties = Ties(grouped.groups.objectid[seed], grouped.keys[seed], mag, error)
    return ties.take(good & steady)
