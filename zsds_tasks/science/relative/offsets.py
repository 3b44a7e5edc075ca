"""What is added to the magnitudes of each image, and what is thought of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.relative.epochs import Bools, Floats, Rows, UnitEpochs
from zsds_tasks.science.relative.kernels import MEAN_SQUARES, Small, corrected

OFFSET_COLUMNS = ("u", "v", "p2u", "uv", "p2v")
"""Spatial terms after the constant: Legendre products of u and v, -1 to 1 over the columns and rows."""


class ImageFlag(IntFlag):
    """What is wrong with an image, bits of `ImageOffsets.flags`."""

    TOO_FEW_STARS = 1
    UNCONNECTED = 2
    SCATTER = 4
    CLOUD = 8
    NOT_PHOTOMETRIC = 16
    EXCLUDED = 32

    @classmethod
    def bad(cls) -> ImageFlag:
        """Return the flags of images whose epochs get bit 15 of catflags.

        A cloud or thin haze that was found and corrected is no reason: what is left of it shows as SCATTER.
        """
        return cls.TOO_FEW_STARS | cls.UNCONNECTED | cls.SCATTER | cls.EXCLUDED


@dataclass(frozen=True)
class ImageOffsets:
    """Corrections of the images of a unit; all columns (n_images).

    Parameters
    ----------
    offset : float64, mag
        Added to magnitudes; 0 where nothing could be found.
    terms : (n_images, 5) float64, mag
        Coefficients of `OFFSET_COLUMNS`, added likewise.
    order : int8
        Degree of the terms, 0 for none.
    error : float64, mag
        Of the offset, 1 sigma; NaN where there is none.
    n_stars : int32
        Stable stars that were used.
    scatter_before, scatter_after : float64, mag
        1.4826 median |m - mean of the star| of the stable stars, without and with offset and terms.
    flags : int16
        `ImageFlag`.
    """

    offset: Floats
    terms: Floats
    order: Small
    error: Floats
    n_stars: NDArray[np.int32]
    scatter_before: Floats
    scatter_after: Floats
    flags: NDArray[np.int16]

    @property
    def bad(self) -> Bools:
        """Images whose epochs should not be used."""
        return np.asarray((self.flags & int(ImageFlag.bad())) != 0)

    @property
    def gauge(self) -> Bools:
        """Good photometric images: the mean of their offsets is zero."""
        return ~self.bad & ((self.flags & int(ImageFlag.NOT_PHOTOMETRIC)) == 0)

    @property
    def term_rms(self) -> Floats:
        """RMS of the spatial terms over the image, mag."""
        return np.asarray(np.sqrt(np.square(self.terms) @ np.array(MEAN_SQUARES[1:])), np.float64)

    def apply(self, image: Rows, mag: Floats, u: Floats, v: Floats) -> Floats:
        """Return corrected magnitudes (n).

        Parameters
        ----------
        image : (n) int64
        mag : (n) float64, mag
        u, v : (n) float64
            Place from -1 to 1 (`UnitEpochs.normalised`).
        """
        less = -np.column_stack([self.offset, self.terms])
        columns = [np.ascontiguousarray(column, np.float64) for column in (mag, u, v)]
        return corrected(
            np.ascontiguousarray(image, np.int64), *columns, np.ascontiguousarray(less), self.order
        )

    def applied(self, epochs: UnitEpochs) -> Floats:
        """Return the corrected magnitudes of all epochs of the unit, in their order."""
        return self.apply(epochs.image, epochs.mag, *epochs.normalised())


@dataclass(frozen=True)
class EnsembleStars:
    """The stars that were considered; all columns (n_seeds).

    Parameters
    ----------
    mag : float64, mag
        Mean of corrected magnitudes; NaN for seeds that were too faint or had too few epochs.
    scatter : float64, mag
        1.4826 median |m - mean| of corrected magnitudes, for a star of few epochs made larger accordingly.
    stable : bool
        Told about images.
    """

    mag: Floats
    scatter: Floats
    stable: Bools


@dataclass(frozen=True)
class RelativeSolution:
    """Corrections of the images of a unit, and the stars that gave them.

    Parameters
    ----------
    images : ImageOffsets
    stars : EnsembleStars
    sweeps : int
        Over the epochs, in all.
    change_mag : float
        Largest change of an offset in the last of them.
    """

    images: ImageOffsets
    stars: EnsembleStars
    sweeps: int
    change_mag: float
