"""What objects do in each filter and over all: light curves of their members joined, statistics, periods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.science.variability.periods import Periods, find_periods
from zsds_tasks.science.variability.statistics import Statistics, StatisticsConfig, measure_statistics
from zsds_tasks.steps.objects.configuration import ObjectsConfig
from zsds_tasks.steps.objects.stars import Stars

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Epochs:
    """Epochs of all members of a pixel's objects, the survey's offsets added.

    Parameters
    ----------
    curves : LightCurves
        As one object; columns (e).
    object_of : numpy.ndarray (e), int64
    fid : numpy.ndarray (e), int64
    of_curves : numpy.ndarray (c + 1), int64
        Where the epochs of each light curve begin.
    """

    curves: LightCurves
    object_of: Integers
    fid: Integers
    of_curves: Integers

    def by(self, group: Integers, groups: int, keep: NDArray[np.bool_]) -> tuple[LightCurves, Integers]:
        """Return the light curves of groups of epochs, and the filters of their epochs."""
        rows = np.flatnonzero(keep)
        rows = rows[np.lexsort((self.curves.mjd[rows], group[rows]))]
        whole = self.curves
        offsets = np.searchsorted(group[rows], np.arange(groups + 1)).astype(np.int64)
        found = LightCurves(whole.mjd[rows], whole.mag[rows], whole.magerr[rows], whole.flags[rows], offsets)
        return found, self.fid[rows]


def epochs_of(stars: Stars) -> Epochs:
    """Return the epochs of a pixel's objects."""
    curves = LightCurves.of_rows(stars.curves)
    seed = np.repeat(stars.curve_seed, np.diff(curves.offsets))
    whole = LightCurves(
        mjd=curves.mjd,
        mag=curves.mag + stars.grouped.offset[seed],
        magerr=curves.magerr,
        flags=curves.flags,
        offsets=np.array([0, len(seed)]),
    )
    return Epochs(whole, stars.object_of[seed], stars.grouped.keys[seed, 1], curves.offsets)


def band_statistics(epochs: Epochs, objects: int, fid: int, config: StatisticsConfig) -> Statistics:
    """Measure the objects in one filter; of those that it never saw, the counts are 0 and the rest NaN."""
    return measure_statistics(epochs.by(epochs.object_of, objects, epochs.fid == fid)[0], config)


def periods_of(epochs: Epochs, chosen: Integers, config: ObjectsConfig) -> Periods:
    """Search some objects (numbers, ascending) for periods, all filters together."""
    number = np.searchsorted(chosen, epochs.object_of)
    known = np.append(chosen, -1)[number] == epochs.object_of
    return find_periods(*epochs.by(number, len(chosen), known), config.pixels.periods)
