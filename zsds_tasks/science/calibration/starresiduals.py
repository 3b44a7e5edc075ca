"""Measurements of catalogued stars in one channel and filter: what a star flat is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StarResiduals:
    """Measurements of catalogued stars in one channel and filter; arrays (n).

    Parameters
    ----------
    x, y : float64
        0-based pixels.
    residual : float64
        Catalogue minus measured magnitude, measured as if no smooth correction had been applied.
    error : float64
        Mag.
    exposure : int64
        Which exposure.
    as_found : float64
        The same with the correction that the images had, for the measured effect.
    """

    x: Floats
    y: Floats
    residual: Floats
    error: Floats
    exposure: NDArray[np.int64]
    as_found: Floats

    def take(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> StarResiduals:
        """Return some of the rows."""
        return StarResiduals(
            self.x[kept],
            self.y[kept],
            self.residual[kept],
            self.error[kept],
            self.exposure[kept],
            self.as_found[kept],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[StarResiduals]) -> StarResiduals:
        """Return all rows of some; none of nothing."""
        if not parts:
            nothing = np.empty(0)
            return cls(nothing, nothing, nothing, nothing, np.empty(0, np.int64), nothing)
        return cls(
            np.concatenate([p.x for p in parts]),
            np.concatenate([p.y for p in parts]),
            np.concatenate([p.residual for p in parts]),
            np.concatenate([p.error for p in parts]),
            np.concatenate([p.exposure for p in parts]),
            np.concatenate([p.as_found for p in parts]),
        )
