"""Light curves of many objects as flat arrays: object i has rows offsets[i] to offsets[i + 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.nested import flat_nested

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LightCurves:
    """Ragged light curves.

    Parameters
    ----------
    mjd : (E) float64
        Days, heliocentric where periods matter; in any order within an object.
    mag, magerr : (E) float64
        Magnitudes and their errors.
    flags : (E) uint16
        `catflags`; an epoch is good where it is 0, its numbers are finite and its error is above 0.
    offsets : (N + 1) int64
        Where the epochs of each object begin; the last is E.

    Raises
    ------
    UnusableInputError
        If lengths differ or offsets do not rise from 0 to E.
    """

    mjd: Floats
    mag: Floats
    magerr: Floats
    flags: NDArray[np.uint16]
    offsets: NDArray[np.int64]

    @classmethod
    def of_rows(cls, rows: pa.Table) -> LightCurves:
        """Return rows of table `lightcurves`, or of its nested column alone, as flat arrays."""
        offsets, flat = flat_nested(rows, "lightcurve", ("hmjd", "mag", "magerr", "catflags"))
        return cls(flat["hmjd"], flat["mag"], flat["magerr"], flat["catflags"], offsets)

    def __post_init__(self) -> None:
        types = {"mjd": np.float64, "mag": np.float64, "magerr": np.float64, "flags": np.uint16}
        for name, kind in {**types, "offsets": np.int64}.items():
            # Kernels are compiled for arrays that may be written: a view of Arrow's memory may not.
            object.__setattr__(self, name, np.require(getattr(self, name), kind, ["C", "W"]))
        lengths = {name: len(getattr(self, name)) for name in types}
        if len(set(lengths.values())) != 1:
            raise UnusableInputError(
                "columns of a light curve differ in length", subject="light curves", lengths=lengths
            )
        rises = len(self.offsets) > 0 and not (np.diff(self.offsets) < 0).any()
        if not rises or self.offsets[0] != 0 or self.offsets[-1] != len(self.mjd):
            raise UnusableInputError(
                "offsets must rise from 0 to the number of epochs",
                subject="light curves",
                remedy="give one offset more than there are objects",
                epochs=len(self.mjd),
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def is_good(self) -> NDArray[np.bool_]:
        """(E) epochs that statistics and periods use."""
        finite = np.isfinite(self.mjd) & np.isfinite(self.mag) & np.isfinite(self.magerr)
        return np.asarray((self.flags == 0) & finite & (self.magerr > 0))

    def in_time_order(self) -> LightCurves:
        """Return the same epochs, of each object in order of time (of equal times by magnitude and error)."""
        within = np.ones(max(len(self.mjd) - 1, 0), bool)
        borders = self.offsets[(self.offsets > 0) & (self.offsets < len(self.mjd))]
        within[borders - 1] = False
        if not (within & ~(np.diff(self.mjd) > 0)).any():
            return self
        objects = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        order = np.lexsort((self.flags, self.magerr, self.mag, self.mjd, objects))
        return LightCurves(
            self.mjd[order], self.mag[order], self.magerr[order], self.flags[order], self.offsets
        )
