"""Statistics of light curves under the names of ZTF's match-files (ztf-system.md section 11.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.variability.curves import Floats, LightCurves
from zsds_tasks.science.variability.statistics_kernel import (
    COUNT_COLUMNS,
    FLOAT_COLUMNS,
    N_FLOATS,
    N_SIGMAS,
    PERCENTS,
    measure,
)

SCALARS = tuple(FLOAT_COLUMNS)
COUNTS = tuple(COUNT_COLUMNS)


class StatisticsConfig(Declaration):
    """What the definitions leave open."""

    pair_minutes: float = Field(
        default=20.0, gt=0, description="Epochs no further apart are pairs of the Stetson J index."
    )
    trend_pairs: int = Field(default=30, gt=0, description="Last consecutive pairs of `npairposslope`.")
    buffer_share: float = Field(
        default=0.1, gt=0, description="`nmedianbufferrange`: share of the amplitude about the median."
    )
    con_sigma: float = Field(
        default=2.0, gt=0, description="`con`: how far beyond the mean, in standard deviations."
    )
    con_run: int = Field(default=3, gt=0, description="`con`: points of a run.")


@dataclass(frozen=True)
class Statistics:
    """Statistics of N objects, from good epochs alone; NaN where too few or all alike.

    Counts
    ------
    nobs, ngoodobs : (N) int32
        All epochs; good ones.
    npairposslope, nmedianbufferrange : (N) int32
        Of the last 30 consecutive pairs those that fade; points within 10 % of the amplitude of the median.
    nabovemeanbystd, nbelowmeanbystd : (N, 3) int32
        Points of higher (fainter) and lower magnitude than the mean by over 1, 3 and 5 standard deviations.
    nconsecabovemeanbystd, nconsecbelowmeanbystd, nconsecfrommeanbystd : (N, 3) int32
        The longest run of such points; on either side the third.

    Magnitudes
    ----------
    meanmag, medianmag, weightedmeanmag, minmag, maxmag, medmagerr, amplitude : (N) float64
        Amplitude is half of the range.
    magrms, weightedmagrms, medianabsdev : (N) float64
        Standard deviation with N - 1; weighted; median distance from the median, not times 1.4826.
    percentiles : (N, 12) float64
        At 5, 10, 17.5, 25, 32.5, 40, 60, 67.5, 75, 82.5, 90 and 95 per cent, linear between points.

    Figures
    -------
    chisq, con, vonneumannratio, stetsonj, stetsonk, skewness, smallkurtosis : (N) float64
        See docs/variability.md.
    lineartrend, maxslope : (N) float64
        Mag per day; unweighted least squares; the steepest step between consecutive epochs.
    firstmjd, lastmjd : (N) float64
        Of good epochs.
    """

    nobs: NDArray[np.int32]
    ngoodobs: NDArray[np.int32]
    npairposslope: NDArray[np.int32]
    nmedianbufferrange: NDArray[np.int32]
    nabovemeanbystd: NDArray[np.int32]
    nbelowmeanbystd: NDArray[np.int32]
    nconsecabovemeanbystd: NDArray[np.int32]
    nconsecbelowmeanbystd: NDArray[np.int32]
    nconsecfrommeanbystd: NDArray[np.int32]
    meanmag: Floats
    medianmag: Floats
    weightedmeanmag: Floats
    minmag: Floats
    maxmag: Floats
    medmagerr: Floats
    amplitude: Floats
    magrms: Floats
    weightedmagrms: Floats
    medianabsdev: Floats
    percentiles: Floats
    chisq: Floats
    con: Floats
    vonneumannratio: Floats
    stetsonj: Floats
    stetsonk: Floats
    skewness: Floats
    smallkurtosis: Floats
    lineartrend: Floats
    maxslope: Floats
    firstmjd: Floats
    lastmjd: Floats

    def __len__(self) -> int:
        return len(self.nobs)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def measure_statistics(curves: LightCurves, config: StatisticsConfig | None = None) -> Statistics:
    """Measure all statistics of light curves in one pass.

    The result of an object depends on its own epochs alone, and not on their order.

    Parameters
    ----------
    curves : LightCurves
        N objects.
    config : StatisticsConfig, optional
        Defaults where None.

    Returns
    -------
    Statistics
        One row per object, in order.
    """
    config = config or StatisticsConfig()
    curves = curves.in_time_order()
    n = len(curves)
    floats = np.full((n, N_FLOATS), np.nan)
    percentiles = np.full((n, len(PERCENTS)), np.nan)
    counts = np.zeros((n, len(COUNTS)), np.int32)
    runs = np.zeros((5, n, N_SIGMAS), np.int32)
    measure(
        curves.mjd,
        curves.mag,
        curves.magerr,
        curves.is_good,
        curves.offsets,
        config.pair_minutes / 1440.0,
        config.trend_pairs,
        config.buffer_share,
        config.con_sigma,
        config.con_run,
        floats,
        percentiles,
        counts,
        runs,
    )
    columns: dict[str, Any] = {name: np.ascontiguousarray(floats[:, i]) for i, name in enumerate(SCALARS)}
    columns |= {name: np.ascontiguousarray(counts[:, i]) for i, name in enumerate(COUNTS)}
    return Statistics(
        **columns,
        percentiles=percentiles,
        nabovemeanbystd=runs[0],
        nbelowmeanbystd=runs[1],
        nconsecabovemeanbystd=runs[2],
        nconsecbelowmeanbystd=runs[3],
        nconsecfrommeanbystd=runs[4],
    )
