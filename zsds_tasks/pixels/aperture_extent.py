"""How extended a source is beyond the PSF, with its error: from light under Gaussian windows.

A window as wide as the PSF cuts off nearly all that pixels cannot sample, so that the light under it hardly
depends on where in its pixel a source lies. Light under L windows is fitted by that of the PSF and that of
the PSF blurred by an exponential disc; the share of the blurred one is the *extent*: 0 for a point, 1 for
the disc, more for larger sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from zsds_tasks.pixels.mesh import Image

Floats = NDArray[np.float64]
STAMP = 25
REACH = 8
"""Of the windows, px: as in `aperture_sources`."""
DISC_OF_FWHM = 0.35
"""Half-light radius of the disc in FWHM of the PSF."""
FINE = 7
"""Points per pixel where the disc is drawn."""
HALF_LIGHT = 1.6783469900166605
"""Half-light radius of an exponential disc in scale lengths."""
PHASES = (-0.25, 0.25)
"""Places within a pixel, px: what little depends on them is averaged out."""
GRID = 5
"""Places along each side of the image where the PSF is looked at."""


class PointSpread(Protocol):
    """What is needed of a PSF."""

    @property
    def fwhm(self) -> float:
        """FWHM at the middle of the image, px."""

    def stamp(self, x: float, y: float, size: int = STAMP, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return it at 0-based (x, y) on a square, `shift` px (x, y) off the middle pixel; sum 1."""


@dataclass(frozen=True)
class WindowedPsf:
    """Light of the PSF under the windows at places of an image.

    Parameters
    ----------
    shape : (ny, nx)
    point, blurred : numpy.ndarray (G, G, L), float64
        Of a point and of a disc, for unit light.
    sky : numpy.ndarray (L, L), float64
        Sums of products of the windows: covariance for sky noise of 1.
    light : numpy.ndarray (G, G, L, L), float64
        The same weighted by the PSF: covariance for the noise of light.
    """

    shape: tuple[int, int]
    point: Floats
    blurred: Floats
    sky: Floats
    light: Floats


def window_psf(psf: PointSpread, shape: tuple[int, int], ladder: Floats) -> WindowedPsf:
    """Look at a PSF through Gaussian windows of widths `ladder` (L), px."""
    from scipy.signal import fftconvolve  # noqa: PLC0415 - imports statistics, 2 s, which other tasks spare

    disc = _disc(DISC_OF_FWHM * psf.fwhm)
    n = len(ladder)
    point, blurred, light = np.zeros((GRID, GRID, n)), np.zeros((GRID, GRID, n)), np.zeros((GRID, GRID, n, n))
    for shift in ((u, v) for u in PHASES for v in PHASES):
        windows = _windows(ladder, shift)
        # Blurring the windows instead of each PSF is the same sum.
        wide = np.stack([fftconvolve(window, disc, mode="same") for window in windows])
        for i, j in np.ndindex(GRID, GRID):
            x, y = (j + 0.5) * shape[1] / GRID - 0.5, (i + 0.5) * shape[0] / GRID - 0.5
            stamp = psf.stamp(x, y, STAMP, shift).astype(np.float64) / len(PHASES) ** 2
            point[i, j] += np.tensordot(windows, stamp, 2)
            blurred[i, j] += np.tensordot(wide, stamp, 2)
            light[i, j] += np.tensordot(windows * stamp, windows, ([1, 2], [1, 2]))
    windows = _windows(ladder, (0.0, 0.0))
    return WindowedPsf(shape, point, blurred, np.tensordot(windows, windows, ([1, 2], [1, 2])), light)


def _windows(ladder: Floats, centre: tuple[float, float]) -> Floats:
    """Return Gaussian windows (L, 25, 25) about a place near the middle pixel."""
    offset = np.arange(STAMP) - STAMP // 2
    along = [
        np.exp(-0.5 * ((offset - c) / ladder[:, None]) ** 2) * (np.abs(offset - c) <= REACH) for c in centre
    ]
    return np.asarray(along[1][:, :, None] * along[0][:, None, :])


def measure_extent(
    windowed: WindowedPsf, x: Floats, y: Floats, light: Floats, noise: Floats, gain: float, floor: float
) -> tuple[Floats, Floats]:
    """Return extent and its error (N each) of sources at 0-based places.

    Parameters
    ----------
    windowed : WindowedPsf
    x, y : numpy.ndarray (N), px
    light : numpy.ndarray (N, L)
        Of the sources under the windows, image unit.
    noise : numpy.ndarray (N)
        Of a sky pixel.
    gain : float
        Electrons per unit.
    floor : float
        Relative error of the PSF's light under a window.

    Returns
    -------
    extent, error : numpy.ndarray (N), float64
        NaN where there is no light.
    """
    ny, nx = windowed.shape
    place = np.array([(y + 0.5) / ny * GRID - 0.5, (x + 0.5) / nx * GRID - 0.5])
    point = _at(windowed.point, place)
    step = _at(windowed.blurred, place) - point
    row, column = np.clip(np.rint(place), 0, GRID - 1).astype(np.int64)
    total = np.maximum(np.sum(light * point, axis=1) / np.sum(point**2, axis=1), 0.0)
    covariance = noise[:, None, None] ** 2 * windowed.sky
    covariance = covariance + (total / gain)[:, None, None] * windowed.light[row, column]
    diagonal = np.arange(point.shape[1])
    covariance[:, diagonal, diagonal] += (floor * total[:, None] * point) ** 2
    inverse = np.linalg.inv(covariance)
    basis = np.stack([point, step], axis=2)
    weighted = np.einsum("nkl,nli->nki", inverse, basis)
    variance = np.linalg.inv(np.einsum("nki,nkj->nij", basis, weighted))
    found = np.einsum("nij,nkj,nk->ni", variance, weighted, light)
    scale = np.where(found[:, 0] > 0, found[:, 0], np.nan)
    return found[:, 1] / scale, np.sqrt(variance[:, 1, 1]) / scale


def _at(grid: Floats, place: Floats) -> Floats:
    """Return values (N, L) of a grid (G, G, L) at places in units of cells, by linear interpolation."""
    layers = np.moveaxis(grid, 2, 0)
    columns = [map_coordinates(layer, place, order=1, mode="nearest") for layer in layers]
    return np.stack(columns, axis=1)


def _disc(half_light: float) -> Floats:
    """Return an exponential disc of this half-light radius (px) on a stamp, sum 1."""
    offset = (np.arange(STAMP * FINE) - (STAMP * FINE - 1) / 2) / FINE
    fine = np.exp(-HALF_LIGHT * np.hypot(offset[:, None], offset) / half_light)
    disc = fine.reshape(STAMP, FINE, STAMP, FINE).sum(axis=(1, 3))
    return np.asarray(disc / disc.sum())
