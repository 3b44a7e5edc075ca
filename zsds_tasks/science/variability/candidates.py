"""Which objects vary: more scatter than stars of their magnitude have, or scatter that is smooth in time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.variability.curves import Floats
from zsds_tasks.science.variability.statistics import Statistics

SIGMA_PER_MAD = 1.4826


class CandidateConfig(Declaration):
    """When an object is a candidate variable."""

    least_epochs: int = Field(default=10, ge=4, description="Good epochs to be judged at all.")
    objects_per_bin: int = Field(
        default=100, ge=10, description="Objects of like magnitude that make the locus."
    )
    least_bin: int = Field(
        default=15, ge=5, description="Fewer judged objects in all: nobody is a candidate."
    )
    threshold: float = Field(default=6.0, gt=0, description="Score from which an object is a candidate.")
    least_chisq: float = Field(
        default=1.5,
        ge=0,
        description="Reduced chi square, over that of its magnitude, a candidate must have.",
    )


@dataclass(frozen=True)
class Candidates:
    """How N objects stand to the locus of their unit.

    Parameters
    ----------
    locus_chisq : (N) float64
        Typical reduced chi square at the magnitude: what errors do not tell about stars that are constant.
    chisq_sigma : (N) float64
        How far ln(chisq) lies over the locus, in standard deviations of a constant star's.
    smooth_sigma : (N) float64
        How far the von Neumann ratio lies under 2, in the standard deviations of noise.
    score : (N) float64
        The root of the squares of both where they are positive; NaN where not judged.
    is_candidate : (N) bool
    """

    locus_chisq: Floats
    chisq_sigma: Floats
    smooth_sigma: Floats
    score: Floats
    is_candidate: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.score)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def find_candidates(statistics: Statistics, config: CandidateConfig | None = None) -> Candidates:
    """Judge the objects of one unit against one another.

    ln(chisq) of a constant star scatters by sqrt(2 / (N - 1)) and by what the locus itself has; the larger
    counts. The von Neumann ratio of noise is 2 with variance 4 (N - 2) / (N^2 - 1) (von Neumann 1941, Annals
    of Mathematical Statistics 12, 367).

    Parameters
    ----------
    statistics : Statistics
        N objects of one field, filter and quadrant.
    config : CandidateConfig, optional

    Returns
    -------
    Candidates
        One row per object; it depends on the other objects of the unit, not on their order.
    """
    config = config or CandidateConfig()
    n = statistics.ngoodobs.astype(np.float64)
    judged = (n >= config.least_epochs) & (statistics.chisq > 0.0) & np.isfinite(statistics.vonneumannratio)
    count = len(n)
    locus, above, smooth, score = (np.full(count, np.nan) for _ in range(4))
    rows = np.flatnonzero(judged)
    if len(rows) >= config.least_bin:
        log_chi, size = np.log(statistics.chisq[rows]), n[rows]
        level, scatter = _locus(statistics.medianmag[rows], log_chi, size, config)
        locus[rows] = np.exp(level)
        above[rows] = (log_chi - level) / np.maximum(np.sqrt(2.0 / (size - 1.0)), scatter)
        spread = np.sqrt(4.0 * (size - 2.0) / (size * size - 1.0))
        smooth[rows] = (2.0 - statistics.vonneumannratio[rows]) / spread
        score[rows] = np.hypot(np.maximum(above[rows], 0.0), np.maximum(smooth[rows], 0.0))
    with np.errstate(invalid="ignore"):
        is_candidate = (score >= config.threshold) & (statistics.chisq > config.least_chisq * locus)
    return Candidates(locus, above, smooth, score, is_candidate)


def _locus(mag: Floats, log_chi: Floats, size: Floats, config: CandidateConfig) -> tuple[Floats, Floats]:
    """Return level and scatter of ln(chisq) at each magnitude, interpolated between bins of equal numbers."""
    order = np.lexsort((size, log_chi, mag))
    bins = np.array_split(order, max(1, len(order) // config.objects_per_bin))
    middles = np.array([np.median(mag[rows]) for rows in bins])
    levels = np.array([np.median(log_chi[rows]) for rows in bins])
    # Half of the lower side alone: variables sit on the upper.
    scatters = np.array(
        [
            SIGMA_PER_MAD * np.median((level - log_chi[rows])[log_chi[rows] <= level])
            for level, rows in zip(levels, bins, strict=True)
        ]
    )
    return np.interp(mag, middles, levels), np.interp(mag, middles, scatters)
