"""Epochs of one channel, field and filter to a reference image (reference section 5, steps 2 to 5).

Each epoch is loaded, resampled onto a north-up grid, brought to the filter's fixed zero point and put into
the stack; what the stack needs of memory is bounded by working in strips, for which epochs are loaded again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.pixels.coadd import Coadd, StackNoise, coadd
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.warp import CoarseMap, Warped, warp
from zsds_tasks.science.reference.config import BuildConfig
from zsds_tasks.sky.pixel_map import north_up_grid, pixel_map
from zsds_tasks.sky.wcs import Wcs

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
MB = 1e6


@dataclass(frozen=True)
class Epoch:
    """One calibrated image, not yet in memory.

    Parameters
    ----------
    pid : int
        Product.
    wcs : Wcs
    shape : (ny, nx)
    zero_point : float
        MAGZP, for the image's own exposure time.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN.
    fwhm_arcsec : float
        Of the PSF.
    maglimit : float
        5 sigma for a point source, mag.
    load : callable
        Returns the image (ny, nx) float32 in DN without its sky, and its mask (ny, nx) uint16. Called once
        for each strip.
    """

    pid: int
    wcs: Wcs
    shape: tuple[int, int]
    zero_point: float
    noise: Mesh
    gain: float
    fwhm_arcsec: float
    maglimit: float
    load: Callable[[], tuple[Image, Mask]]


@dataclass(frozen=True)
class Reference:
    """A reference image before sources are measured on it.

    Parameters
    ----------
    image, uncertainty : numpy.ndarray (ny, nx), float32
        DN at `zero_point`, without sky; NaN where no epoch has a usable pixel.
    coverage : numpy.ndarray (ny, nx), int16
        Epochs in each pixel.
    wcs : Wcs
        Plain TAN, north up.
    zero_point : float
        Fixed, by filter.
    gain : float
        Electrons per DN of the weighted mean: variance of light per DN is its inverse.
    fwhm_px : float
        Of the PSF, as expected from the epochs; the PSF is measured later.
    pids : tuple of int
        What it is made of.
    weights : numpy.ndarray (n), float32
        Of the epochs, largest 1.
    footprints : numpy.ndarray (my, mx), int16
        How many epochs' images hold the middle of each square block of pixels, usable or not.
    block_px : int
        Side of these blocks.
    """

    image: Image
    uncertainty: Image
    coverage: NDArray[np.int16]
    wcs: Wcs
    zero_point: float
    gain: float
    fwhm_px: float
    pids: tuple[int, ...]
    weights: Image
    footprints: NDArray[np.int16]
    block_px: int

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        ny, nx = self.image.shape
        return ny, nx


def build_reference(
    epochs: Sequence[Epoch], filter_name: str, config: BuildConfig | None = None, *, room: Image | None = None
) -> Reference:
    """Stack epochs.

    Parameters
    ----------
    epochs : sequence of Epoch
        Any number from 1: whether there are enough is `select_epochs`' question. Their order does not matter
        but for rounding.
    filter_name : str
    config : BuildConfig, optional
    room : numpy.ndarray (n), float32, optional
        Flat buffer for the stack, used again between references or mapped to a file; by default memory as
        large as the configuration allows.

    Returns
    -------
    Reference

    Raises
    ------
    ConfigurationError
        If the filter has no fixed zero point, or the room does not hold one strip.
    UnusableInputError
        If there are no epochs, a number of one is not finite, or they are not of one field.
    """
    config = config or BuildConfig()
    if filter_name not in config.zero_points:
        raise ConfigurationError(
            "no fixed zero point",
            subject=f"filter {filter_name}",
            remedy="add it to zero_points of references",
        )
    zero_point = config.zero_points[filter_name]
    _check(epochs)
    wcs, shape = _grid(epochs, config)
    charts = [CoarseMap.of(pixel_map(wcs, e.wcs), shape, config.node_step_px) for e in epochs]
    factors = np.array([10 ** (0.4 * (zero_point - e.zero_point)) for e in epochs])
    noise = _noise(epochs, charts, factors, config)
    result = Coadd.empty(shape)
    rows, room = _strips(len(epochs), shape, config, room)
    for first in range(0, shape[0], rows):
        last = min(first + rows, shape[0])
        # A step more on both sides: what the stack does in a row depends on the rows beside it.
        low, high = max(0, first - config.node_step_px), min(shape[0], last + config.node_step_px)
        frames = room[: len(epochs) * (high - low) * shape[1]].reshape(len(epochs), high - low, shape[1])
        coverage = np.empty(frames.shape[1:], np.float32)  # of each epoch, not asked for
        for frame, epoch, chart, factor in zip(frames, epochs, charts, factors, strict=True):
            image, mask = epoch.load()
            part, into = chart.rows(low, high - low), Warped(frame, coverage)
            warp(image, mask, config.unusable_bits, part, config.warp, into=into)
            np.multiply(frame, np.float32(factor), out=frame)
        margin, strip = (first - low, high - last), result.rows(first, last - first)
        coadd(frames, noise, config.coadd, first_row=first, margin=margin, into=strip)
    share = noise.weight / noise.weight.sum()
    fwhm = math.sqrt(sum(w * e.fwhm_arcsec**2 for w, e in zip(share, epochs, strict=True)))  # variances add
    return Reference(
        image=result.mean,
        uncertainty=result.uncertainty,
        coverage=result.coverage,
        wcs=wcs,
        zero_point=zero_point,
        gain=float(1 / (share.astype(float) ** 2 @ noise.per_flux.astype(float))),
        fwhm_px=fwhm / config.pixel_scale_arcsec,
        pids=tuple(e.pid for e in epochs),
        weights=(noise.weight / noise.weight.max()).astype(np.float32),
        footprints=_footprints(epochs, charts),
        block_px=config.node_step_px,
    )


def _check(epochs: Sequence[Epoch]) -> None:
    if not epochs:
        raise UnusableInputError("no epochs", subject="reference")
    for e in epochs:
        numbers = (e.zero_point, e.gain, e.fwhm_arcsec)
        if not all(math.isfinite(v) for v in numbers) or min(e.gain, e.fwhm_arcsec) <= 0:
            raise UnusableInputError(
                "an epoch without zero point, gain or FWHM", subject=f"pid {e.pid}",
                remedy="leave it out", zero_point=e.zero_point, gain=e.gain, fwhm_arcsec=e.fwhm_arcsec,
            )  # fmt: skip
        if not np.all(e.noise.values > 0):
            raise UnusableInputError("an epoch without noise", subject=f"pid {e.pid}", remedy="leave it out")


def _grid(epochs: Sequence[Epoch], config: BuildConfig) -> tuple[Wcs, tuple[int, int]]:
    footprints = [(e.wcs, e.shape) for e in epochs]
    alone = max(max(e.shape) * e.wcs.pixel_scale_arcsec for e in epochs) / config.pixel_scale_arcsec
    try:
        wcs, shape = north_up_grid(
            footprints, scale_arcsec=config.pixel_scale_arcsec, margin_px=config.margin_px
        )
    except ValueError as error:
        raise UnusableInputError(str(error), subject="reference") from error
    if max(shape) - 2 * config.margin_px > config.most_side * alone:
        raise UnusableInputError(
            f"the epochs fill {shape[0]} x {shape[1]} pixels, a channel has {alone:.0f}",
            subject="reference", remedy="take epochs of one field and channel", pids=[e.pid for e in epochs],
        )  # fmt: skip
    return wcs, shape


def _noise(
    epochs: Sequence[Epoch], charts: Sequence[CoarseMap], factors: NDArray[np.float64], config: BuildConfig
) -> StackNoise:
    """Return the noise of the scaled and resampled epochs, with the weight each has in the mean."""
    sky = []
    for epoch, chart, factor in zip(epochs, charts, factors, strict=True):
        x, y = chart.x[1:-1, 1:-1], chart.y[1:-1, 1:-1]
        known = np.isfinite(x) & np.isfinite(y)
        at = epoch.noise.at(np.where(known, x, 0.0).ravel(), np.where(known, y, 0.0).ravel()).reshape(x.shape)
        # An output pixel holds the light of `area` input pixels, noise included.
        area = np.where(np.isfinite(chart.area) & (chart.area > 0), chart.area, 1.0)
        sky.append(at * area * np.float32(factor))
    typical = np.array([np.median(nodes) for nodes in sky], np.float64)
    weight = typical**-2.0
    if config.weight == "depth":
        # The variance of a point source's flux is that of N_eff pixels, N_eff as the square of the FWHM.
        weight /= np.array([e.fwhm_arcsec for e in epochs]) ** 2
    per_flux = factors / np.array([e.gain for e in epochs])
    return StackNoise(
        np.ascontiguousarray(np.stack(sky), np.float32),
        float(config.node_step_px),
        per_flux.astype(np.float32),
        (weight / weight.max()).astype(np.float32),
    )


def _strips(n: int, shape: tuple[int, int], config: BuildConfig, room: Image | None) -> tuple[int, Image]:
    """Return rows per strip, a multiple of the node step, and the buffer for the stack."""
    size = room.size if room is not None else int(config.memory_mb * MB / 4)
    step = config.node_step_px
    fit = size // (n * shape[1])
    rows = shape[0] if fit >= shape[0] else (fit // step - 2) * step
    if rows <= 0:
        raise ConfigurationError(
            f"{size * 4 / MB:.0f} MB do not hold {3 * step} rows of {n} epochs",
            subject="reference", remedy="raise memory_mb",
        )  # fmt: skip
    if rows < shape[0]:  # strips of equal size
        rows = math.ceil(shape[0] / math.ceil(shape[0] / rows) / step) * step
    needed = n * shape[1] * min(shape[0], rows + 2 * step)
    return rows, np.empty(needed, np.float32) if room is None else room.reshape(-1)


def _footprints(epochs: Sequence[Epoch], charts: Sequence[CoarseMap]) -> NDArray[np.int16]:
    """Count the epochs whose image holds the middle of each cell of the map."""
    counts = np.zeros(tuple(side - 3 for side in charts[0].x.shape), np.int16)
    for epoch, chart in zip(epochs, charts, strict=True):
        x, y = (
            (v[1:-2, 1:-2] + v[1:-2, 2:-1] + v[2:-1, 1:-2] + v[2:-1, 2:-1]) / 4 for v in (chart.x, chart.y)
        )
        ny, nx = epoch.shape
        counts += (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    return counts
