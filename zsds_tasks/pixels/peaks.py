"""Where point sources are: a matched filter, the local maxima above the noise, and how wide stars are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks_filter import PEAK_COLUMNS, filtered_peaks

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
FWHM_OF_SIGMA = 2.3548200450309493
FILTER_SIGMAS = 3.0  # what of a Gaussian lies beyond changes no S/N
RING_FWHM = 1.5
START_VARIANCE, MOST_VARIANCE = 1.5, 40.0  # square px, of a star's core
MOMENT_STEPS = 12


class PeaksConfig(Declaration):
    """What counts as a peak, and which peaks measure the seeing."""

    threshold_sigma: Annotated[float, Field(gt=0)] = Field(
        5.0, description="least significance of a peak, in sigma of the filtered sky noise"
    )
    contrast_sigma: Annotated[float, Field(ge=0)] = Field(
        3.0,
        description="least rise over the ring around, in sigma of the filtered noise of the light there: "
        "keeps ripples on a bright star's wings out",
    )
    hidden_sigma: Annotated[float, Field(gt=0)] = Field(
        50.0, description="least significance of a peak whose middle is unusable: a saturated star"
    )
    guess_fwhm_px: Annotated[float, Field(gt=0)] = Field(
        2.5,
        description="FWHM of the filter that finds stars for the seeing, px; returned where none is found",
    )
    star_sigma: Annotated[float, Field(gt=0)] = Field(30.0, description="least significance of such a star")
    star_count: Annotated[int, Field(ge=5)] = Field(300, description="brightest isolated stars measured")
    isolation_px: Annotated[float, Field(gt=0)] = Field(12.0, description="no other peak within, px")


@dataclass(frozen=True)
class Peaks:
    """Local maxima of a filtered image, in reading order.

    Parameters
    ----------
    x, y : numpy.ndarray (N), float64
        0-based positions, px, to about a tenth of a pixel.
    significance : numpy.ndarray (N), float64
        Filtered value over the filtered sky noise: about the S/N of a faint source.
    flux : numpy.ndarray (N), float64
        Of a source as wide as the filter; a guess, in the image's unit.
    is_hidden : numpy.ndarray (N), bool
        The pixel under the peak is unusable.
    """

    x: Floats
    y: Floats
    significance: Floats
    flux: Floats
    is_hidden: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many."""
        return len(self.x)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Peaks:
        """Return some of them."""
        return Peaks(
            self.x[rows], self.y[rows], self.significance[rows], self.flux[rows], self.is_hidden[rows]
        )


def detect_peaks(
    image: Image,
    mask: Mask,
    bits: int,
    noise: Mesh,
    gain: float,
    fwhm_px: float,
    config: PeaksConfig,
) -> Peaks:
    """Return the local maxima of an image filtered with a Gaussian as wide as its stars.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Sky-subtracted, DN.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        A pixel with any of them set, or without a finite value, is unusable. Unusable pixels are bridged
        along their row; a peak on one counts only if it is bright.
    noise : Mesh
        Of the sky, DN per pixel.
    gain : float
        Electrons per DN.
    fwhm_px : float
    config : PeaksConfig

    Returns
    -------
    Peaks
        None on the outermost rows and columns.

    Raises
    ------
    ValueError
        If shapes do not agree, or FWHM or gain is not above zero.
    """
    return _detect(image, mask, bits, noise, gain, fwhm_px, config, (0, image.shape[0]))


def _detect(
    image: Image,
    mask: Mask,
    bits: int,
    noise: Mesh,
    gain: float,
    fwhm_px: float,
    config: PeaksConfig,
    band: tuple[int, int],
) -> Peaks:
    """Return the peaks of a band of rows; see `detect_peaks`."""
    if image.shape != mask.shape or image.shape != noise.shape:
        raise ValueError(f"image {image.shape}, mask {mask.shape} and noise {noise.shape} differ in shape")
    if not (fwhm_px > 0 and gain > 0):
        raise ValueError(f"FWHM {fwhm_px} px and gain {gain} e-/DN must be above zero")
    kernel = filter_kernel(fwhm_px)
    gathered = (2 * float(np.sum(kernel[1:] ** 2)) + float(kernel[0]) ** 2) ** 2  # sum of squares in 2-D
    spread = math.sqrt(gathered)  # noise of the filtered sky in units of a pixel's
    quiet = float(noise.values.min())
    least = np.float32(config.threshold_sigma * spread * quiet)
    bright = np.float32(config.hidden_sigma * quiet / 10)
    ring = _ring(RING_FWHM * fwhm_px)
    ny = band[1] - band[0]
    found = np.empty((4096 + ny * image.shape[1] // 400, PEAK_COLUMNS))
    arguments = (image, mask, bits, noise.values, float(noise.cell), kernel, least, bright, ring)
    n = filtered_peaks(*arguments, found, *band)
    if n > len(found):
        found = np.empty((n, PEAK_COLUMNS))
        filtered_peaks(*arguments, found, *band)
    x, y, value, sky, around, hidden = found[:n].T
    significance = value / (spread * sky)
    # The ring's light is brighter than a pixel's by the filter's sum.
    local = np.sqrt(sky**2 + np.maximum(around, 0.0) / _sum2(kernel) / gain)
    kept = significance >= np.where(hidden > 0, config.hidden_sigma, config.threshold_sigma)
    kept &= value - around >= config.contrast_sigma * spread * local
    return Peaks(x, y, significance, value / gathered, hidden > 0).take(kept)


def filter_kernel(fwhm_px: float) -> Image:
    """Return one axis of a Gaussian of unit sum from its middle on, (half + 1) float32."""
    sigma = fwhm_px / FWHM_OF_SIGMA
    offsets = np.arange(max(1, math.ceil(FILTER_SIGMAS * sigma)) + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(kernel / (2 * kernel.sum() - kernel[0]), np.float32)


def _sum2(kernel: Image) -> float:
    return (2 * float(np.sum(kernel[1:])) + float(kernel[0])) ** 2


def _ring(radius: float) -> NDArray[np.int64]:
    """Return offsets (row, column) of 16 pixels around."""
    angle = np.arange(16) * np.pi / 8
    return np.rint(radius * np.column_stack([np.sin(angle), np.cos(angle)])).astype(np.int64)


def estimate_fwhm(
    image: Image, mask: Mask, bits: int, noise: Mesh, gain: float, config: PeaksConfig
) -> float:
    """Return how wide stars are, px: FWHM of the Gaussians that match the brightest isolated ones best.

    A part of the image serves if it holds enough of them. The width returned is the middle of the half of
    them that agree most closely: galaxies, blends and hits of particles lie outside.

    Parameters
    ----------
    image, mask, bits, noise, gain
        See `detect_peaks`.
    config : PeaksConfig

    Returns
    -------
    float
        px; `config.guess_fwhm_px` where no star can be measured.
    """
    ny = image.shape[0]
    wanted = config.model_copy(update={"threshold_sigma": config.star_sigma})
    part = min(ny, max(256, ny // 4))
    start = (ny - part) // 2
    for band in ((start, start + part), (0, ny)):
        peaks = _detect(image, mask, bits, noise, gain, config.guess_fwhm_px, wanted, band)
        chosen = _isolated(peaks, config)
        sigmas = star_sigmas(image, mask, bits, peaks.x[chosen], peaks.y[chosen])
        sigmas = np.sort(sigmas[np.isfinite(sigmas)])
        if len(sigmas) >= config.star_count // 3 or band == (0, ny):
            break
    if len(sigmas) == 0:
        return config.guess_fwhm_px
    half = (len(sigmas) + 1) // 2
    spans = np.log(sigmas[half - 1 :] / sigmas[: len(sigmas) - half + 1])
    first = int(np.argmin(spans))
    return float(np.median(sigmas[first : first + half])) * FWHM_OF_SIGMA


def _isolated(peaks: Peaks, config: PeaksConfig) -> NDArray[np.intp]:
    """Return the brightest peaks without another in reach; where none is, the brightest of all."""
    visible = np.flatnonzero(~peaks.is_hidden)
    order = visible[np.argsort(-peaks.significance[visible], kind="stable")]
    distance = nearest_distances(peaks.x, peaks.y)
    alone = order[distance[order] > config.isolation_px]
    return (alone if len(alone) else order)[: config.star_count]


def star_sigmas(image: Image, mask: Mask, bits: int, x: Floats, y: Floats) -> Floats:
    """Return the sigma (N, px) of the round Gaussian that matches each place best; NaN where none does."""
    out = np.empty(len(x))
    _measure_sigmas(image, mask, bits, x, y, out)
    return out


def nearest_distances(x: Floats, y: Floats) -> Floats:
    """Return the distance (N) of each position to the nearest other one, px; infinity for a single one."""
    if len(x) < 2:
        return np.full(len(x), np.inf)
    return np.asarray(cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), k=2)[0][:, 1])


@compiled("b1(f4[:, ::1], u2[:, ::1], i8, f8[::1], f8[::1])", cache=True, nogil=True)
def _sum_moments(image: Image, mask: Mask, bits: int, guess: Floats, out: Floats) -> bool:
    """Write sum, x, y and squared radius under a Gaussian (x, y, variance); False if a pixel is missing."""
    ny, nx = image.shape
    wanted = np.uint16(bits)
    reach = math.ceil(3.0 * math.sqrt(guess[2]))
    i0, j0 = round(guess[1]), round(guess[0])
    if i0 < reach or j0 < reach or i0 >= ny - reach or j0 >= nx - reach:
        return False
    out[:] = 0.0
    is_whole = True
    for i in range(i0 - reach, i0 + reach + 1):
        for j in range(j0 - reach, j0 + reach + 1):
            if (mask[i, j] & wanted) != 0 or not math.isfinite(image[i, j]):
                is_whole = False
                continue
            dx, dy = j - guess[0], i - guess[1]
            w = image[i, j] * math.exp(-0.5 * (dx * dx + dy * dy) / guess[2])
            out[0] += w
            out[1] += w * dx
            out[2] += w * dy
            out[3] += w * (dx * dx + dy * dy)
    return is_whole and out[0] > 0.0


@compiled("void(f4[:, ::1], u2[:, ::1], i8, f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
def _measure_sigmas(image: Image, mask: Mask, bits: int, x: Floats, y: Floats, out: Floats) -> None:
    """Write the sigma of the best matching round Gaussian, px, or NaN: moments under a weight like it."""
    guess, sums = np.empty(3), np.empty(4)
    for star in range(len(x)):
        guess[0], guess[1], guess[2] = x[star], y[star], START_VARIANCE
        out[star] = np.nan
        for step in range(MOMENT_STEPS):
            if guess[2] > MOST_VARIANCE or not _sum_moments(image, mask, bits, guess, sums):
                break
            guess[0] += 2.0 * sums[1] / sums[0]  # the weight halves the shift
            guess[1] += 2.0 * sums[2] / sums[0]
            moment = 0.5 * sums[3] / sums[0]
            is_near = abs(guess[0] - x[star]) + abs(guess[1] - y[star]) <= 2.0
            if 0.0 < moment < 0.95 * guess[2] and is_near:
                guess[2] = 1.0 / (1.0 / moment - 1.0 / guess[2])
            else:
                guess[2] *= 2.0
            if step == MOMENT_STEPS - 1:
                out[star] = math.sqrt(guess[2])
