"""How faint and how bright point sources an image can measure (reference section 4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.photometry.zeropoint_solution import ZeroPoint

Floats = NDArray[np.float64]


class DepthConfig(Declaration):
    """What counts as a limit."""

    n_sigma: Annotated[float, Field(gt=0)] = Field(5.0, description="flux over its error at the faint limit")


@dataclass(frozen=True)
class Depth:
    """Limits of one image, mag, for a star of colour zero.

    Parameters
    ----------
    limit : float
        5 sigma by PSF fitting, for the median noise and the PSF of the middle: MAGLIM.
    cells : numpy.ndarray (n, n), float64, [row, column]
        The same in each cell, with its own noise, PSF and zero point.
    saturation : float
        Brightest star whose highest pixel does not saturate, if centred on it.
    """

    limit: float
    cells: Floats
    saturation: float

    def header(self) -> dict[str, float]:
        """Return the FITS keywords MAGLIM and, ours, MAGSAT."""
        return {"MAGLIM": self.limit, "MAGSAT": self.saturation}


def effective_pixels(stamp: NDArray[np.floating]) -> float:
    """Return N_eff = 1 / sum(P^2) of a PSF stamp, after scaling its sum to one.

    Of a Gaussian it is 4 pi sigma^2. Fitting it on white noise has a flux error of noise x sqrt(N_eff).
    """
    values = np.asarray(stamp, np.float64)
    return float(values.sum() ** 2 / np.sum(values**2))


def peak_fraction(stamp: NDArray[np.floating]) -> float:
    """Return the share of the light that falls into the highest pixel of a PSF stamp."""
    values = np.asarray(stamp, np.float64)
    return float(values.max() / values.sum())


def point_source_limit(
    zero_point: ArrayLike, noise: ArrayLike, n_eff: ArrayLike, n_sigma: float = 5.0
) -> Floats:
    """Return magnitudes at which the flux is `n_sigma` times its error, sky noise alone; any shape.

    Parameters
    ----------
    zero_point : mag
    noise : DN
        Of a sky pixel.
    n_eff : pixels
        See `effective_pixels`.
    n_sigma : float
    """
    error = np.asarray(noise, np.float64) * np.sqrt(np.asarray(n_eff, np.float64))
    return np.asarray(np.asarray(zero_point, np.float64) - 2.5 * np.log10(n_sigma * error), np.float64)


def saturation_limit(zero_point: float, room: float, peak: float) -> float:
    """Return the magnitude of a star whose highest pixel just reaches saturation.

    Parameters
    ----------
    zero_point : float, mag
    room : float, DN
        From the sky to the level at which pixels of the calibrated image saturate.
    peak : float
        See `peak_fraction`.
    """
    return zero_point - 2.5 * float(np.log10(room / peak)) if room > 0 else float("inf")


def measure_depth(
    zero_point: ZeroPoint,
    noise: Floats,
    stamps: NDArray[np.floating],
    middle: NDArray[np.floating],
    room: float,
    cells: tuple[Floats, Floats],
    config: DepthConfig | None = None,
) -> Depth:
    """Return the limits of one image.

    Parameters
    ----------
    zero_point : ZeroPoint
    noise : (n, n) float, DN
        Of a sky pixel at the middles of the cells.
    stamps : (n, n, size, size) float
        PSF there.
    middle : (size, size) float
        PSF at the middle of the image.
    room : float, DN
        From the sky to saturation.
    cells : x, y, each (n, n) float64, FITS 1-based pixels
        The middles of the cells: `zsds_tasks.science.photometry.spatial.cell_middles`.
    config : DepthConfig, optional
    """
    n_sigma = (config or DepthConfig()).n_sigma
    n_eff = np.array([[effective_pixels(stamp) for stamp in row] for row in stamps])
    typical = float(np.median(noise)), effective_pixels(middle)
    return Depth(
        limit=float(point_source_limit(zero_point.magzp, *typical, n_sigma)),
        cells=point_source_limit(zero_point.magzp + zero_point.spatial.at(*cells), noise, n_eff, n_sigma),
        saturation=saturation_limit(zero_point.magzp, room, peak_fraction(middle)),
    )
