"""The FWHM of star cores from three pixels of each peak: before there is a PSF, to tell spikes from stars.

Of a Gaussian of variance s^2 the logarithms of three neighbours in a line obey ln v - (ln l + ln r) / 2 =
1 / (2 s^2) wherever in the pixel the centre lies. So every peak gives the width in x and y without a fit.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.mesh_rows import MeshRows

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
BLOCK = 16
FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))


class CoreConfig(Declaration):
    """Which peaks are looked at."""

    peak_sigmas: Annotated[float, Field(gt=0)] = Field(50.0, description="least height, sigmas of blank sky")
    side_sigmas: Annotated[float, Field(gt=0)] = Field(
        3.0, description="least of the four neighbours: most cosmic rays stand alone"
    )
    least_peaks: Annotated[int, Field(ge=1)] = Field(20, description="fewer give no width")


def core_fwhm(image: Image, mask: Mask, bits: int, noise: Mesh, config: CoreConfig) -> float:
    """Return the FWHM of star cores along the narrower of the two axes, pixels.

    The median over peaks: they must be stars for the most part, which they are in any field of half a degree.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Background subtracted.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        A peak that has one of them, itself or at one of its four neighbours, is left out.
    noise : Mesh
        1 sigma of blank sky, DN.
    config : CoreConfig

    Returns
    -------
    float
        NaN where there are too few peaks.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    if not image.shape == mask.shape == noise.shape:
        raise ValueError(f"image, mask and noise of {image.shape}, {mask.shape} and {noise.shape} pixels")
    rows = MeshRows.of(noise)
    limits = np.array([config.peak_sigmas, config.side_sigmas], np.float32)
    drops = _drops(image, mask, np.uint16(bits), rows.across, rows.node, rows.weight, limits)
    if len(drops) < config.least_peaks:
        return float("nan")
    return float(FWHM_OF_SIGMA / np.sqrt(2 * np.median(drops, axis=0).max()))


@compiled("b1(f4[:, ::1], u2[:, ::1], u2, i8, i8, f4, f4)", cache=True, nogil=True)
def _is_peak(
    image: Image, mask: Mask, bits: int, y: int, x: int, height: np.float32, side: np.float32
) -> bool:
    """Say whether a pixel tops its cross and is high enough, as are its neighbours, and all are usable."""
    v, left, right, up, down = image[y, x], image[y, x - 1], image[y, x + 1], image[y - 1, x], image[y + 1, x]
    # Of two equal pixels the first is the peak. NaN fails.
    if not (v > height and min(left, right, up, down) > side and v >= max(right, down) and v > max(left, up)):
        return False
    flags = mask[y, x] | mask[y, x - 1] | mask[y, x + 1] | mask[y - 1, x] | mask[y + 1, x]
    return (flags & bits) == 0


@compiled(
    "f8[:, ::1](f4[:, ::1], u2[:, ::1], u2, f4[:, ::1], i8[::1], f4[::1], f4[::1])",
    cache=True,
    nogil=True,
    fastmath={"contract", "reassoc", "nsz"},
)
def _drops(
    image: Image,
    mask: Mask,
    bits: int,
    across: Image,
    node: NDArray[np.int64],
    weight: Image,
    limits: Image,
) -> NDArray[np.float64]:
    """Return ln v - (ln l + ln r) / 2 along x and y of each peak, (N, 2)."""
    ny, nx = image.shape
    drops = np.empty((1024, 2))
    n = 0
    least = limits[0] * across.min()
    for y in range(1, ny - 1):
        for start in range(1, nx - 1, BLOCK):
            stop = min(start + BLOCK, nx - 1)
            bright = np.float32(0)  # most blocks hold nothing bright: one fast look at each
            for x in range(start, stop):
                bright += np.float32(1) if image[y, x] > least else np.float32(0)
            if bright == 0:
                continue
            if n + BLOCK > len(drops):
                larger = np.empty((2 * len(drops), 2))
                larger[:n] = drops[:n]
                drops = larger
            for x in range(start, stop):
                if not image[y, x] > least:
                    continue
                lower, upper = across[node[y], x], across[node[y] + 1, x]
                sigma = lower + weight[y] * (upper - lower)
                if _is_peak(image, mask, bits, y, x, limits[0] * sigma, limits[1] * sigma):
                    v = np.log(image[y, x])
                    drops[n, 0] = v - (np.log(image[y, x - 1]) + np.log(image[y, x + 1])) / 2
                    drops[n, 1] = v - (np.log(image[y - 1, x]) + np.log(image[y + 1, x])) / 2
                    n += 1
    return drops[:n].copy()
