"""Resample an image onto another grid of pixels with a Lanczos-3 kernel, keeping the light of every source.

Where each output pixel comes from is a `CoarseMap`: exact places at nodes every 32 pixels or so, a cubic
between them. Pixel (x, y) of the output is the kernel-weighted mean of the input around the mapped place,
times the area of the output pixel in input pixels, so that the sum over a source stays what it was.

Lanczos-3 is the windowed sinc of Duchon (1979, J. Appl. Meteorol. 18, 1016), with its weights changed a
little, see `warp_kernels.lanczos_table`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels import warp_kernels

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Places = Callable[[Floats, Floats], tuple[Floats, Floats]]


class WarpConfig(Declaration):
    """Which output pixels have a value."""

    largest_lost: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1,
        description="share of the kernel's absolute weight on unusable pixels or beyond the image; over it "
        "there is no value, up to it the rest stands for the whole",
    )


@dataclass(frozen=True)
class CoarseMap:
    """Where the pixels of an output grid lie in an input image.

    Parameters
    ----------
    x, y : numpy.ndarray (my, mx), float64
        0-based input pixels at nodes: node (i, j) is output pixel ((j - 1) step, (i - 1) step), so there is
        one more node than needed on every side. NaN where the input has no such place.
    step : int
        Output pixels between nodes.
    shape : (ny, nx)
        Of the output.
    """

    x: Floats
    y: Floats
    step: int
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        expected = node_shape(self.shape, self.step)
        if self.x.shape != expected or self.y.shape != expected:
            raise ValueError(f"nodes {self.x.shape} and {self.y.shape}, not {expected} for {self.shape}")

    @classmethod
    def of(cls, place: Places, shape: tuple[int, int], step: int = 32) -> CoarseMap:
        """Make the map of a function from 0-based output pixels (x, y) to 0-based input pixels.

        Between nodes 32 px apart a cubic follows the distortion of a wide camera (50 arcsec at the corners of
        3072 pixels) to 1e-5 px; lines would be off by 0.02 px.
        """
        my, mx = node_shape(shape, step)
        x, y = place(*np.meshgrid((np.arange(mx) - 1.0) * step, (np.arange(my) - 1.0) * step))
        return cls(np.asarray(x, np.float64), np.asarray(y, np.float64), step, shape)

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return the 0-based input places (N) of 0-based output pixels (N), fractions allowed; slowly."""
        j, i = np.floor(x / self.step).astype(int), np.floor(y / self.step).astype(int)
        j, i = np.clip(j, 0, self.x.shape[1] - 4), np.clip(i, 0, self.x.shape[0] - 4)
        across, down = _lagrange(x / self.step - j), _lagrange(y / self.step - i)
        found = []
        for nodes in (self.x, self.y):
            near = nodes[i[:, None, None] + np.arange(4)[:, None], j[:, None, None] + np.arange(4)]
            found.append(np.einsum("nij,ni,nj->n", near, down, across))
        return found[0], found[1]

    def shifted(self, dx: float, dy: float) -> CoarseMap:
        """Return the map whose input places are moved by some pixels."""
        return CoarseMap(self.x + dx, self.y + dy, self.step, self.shape)

    def rows(self, first: int, n: int) -> CoarseMap:
        """Return the map of n output rows; `first` is a multiple of the step.

        Raises
        ------
        ValueError
            If it is not, or the rows are not all there.
        """
        if first % self.step or not 0 < n <= self.shape[0] - first:
            raise ValueError(f"{n} rows from {first} of {self.shape[0]}, nodes every {self.step}")
        shape = (n, self.shape[1])
        cells = slice(first // self.step, first // self.step + node_shape(shape, self.step)[0])
        return CoarseMap(self.x[cells], self.y[cells], self.step, shape)

    @cached_property
    def area(self) -> Image:
        """Area of an output pixel in input pixels, float32, at the nodes less the outermost ones."""
        x_across, y_across = (self._slope(v[1:-1, 2:] - v[1:-1, :-2]) for v in (self.x, self.y))
        x_down, y_down = (self._slope(v[2:, 1:-1] - v[:-2, 1:-1]) for v in (self.x, self.y))
        return np.ascontiguousarray(np.abs(x_across * y_down - x_down * y_across), np.float32)

    def _slope(self, difference: Floats) -> Floats:
        return difference / (2 * self.step)


@dataclass(frozen=True)
class Warped:
    """An image on another grid.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        NaN where there is no value.
    coverage : numpy.ndarray (ny, nx), float32
        Share of the kernel's absolute weight that fell on usable pixels, 0 to 1.
    variance : numpy.ndarray (ny, nx), float32, or None
        See `warp`.
    """

    image: Image
    coverage: Image
    variance: Image | None = None

    @classmethod
    def empty(cls, shape: tuple[int, int], *, with_variance: bool = False) -> Self:
        """Make the arrays of one."""
        image, coverage = np.empty(shape, np.float32), np.empty(shape, np.float32)
        return cls(image, coverage, np.empty(shape, np.float32) if with_variance else None)


def node_shape(shape: tuple[int, int], step: int) -> tuple[int, int]:
    """Return how many nodes (my, mx) a `CoarseMap` of an output of this shape has."""
    return math.ceil(shape[0] / step) + 3, math.ceil(shape[1] / step) + 3


def warp(
    image: Image,
    mask: Mask,
    bits: int,
    chart: CoarseMap,
    config: WarpConfig | None = None,
    *,
    variance: Image | None = None,
    into: Warped | None = None,
) -> Warped:
    """Resample an image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Without sky: a sky of 1 DN per pixel would become one of the area ratio.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        A pixel with any of them set, or without a finite value, is unusable, as is all beyond the image.
    chart : CoarseMap
    config : WarpConfig, optional
    variance : numpy.ndarray (ny, nx), float32, optional
        Of the pixels. It is interpolated linearly and multiplied by the square of the area ratio: the
        variance an output pixel would have if no input pixel were shared. The scatter of single output pixels
        is smaller (0.6 to 1 times in variance, by phase), because neighbours share noise; over an aperture or
        a PSF the two make up for each other, and sums of the returned variance are right.
    into : Warped, optional
        Buffers that are written and returned; its variance is needed if one is given.

    Returns
    -------
    Warped

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    if mask.shape != image.shape or (variance is not None and variance.shape != image.shape):
        raise ValueError(f"image {image.shape}, mask {mask.shape} and variance do not agree in shape")
    out = into or Warped.empty(chart.shape, with_variance=variance is not None)
    if out.image.shape != chart.shape or out.coverage.shape != chart.shape:
        raise ValueError(f"buffers of {out.image.shape} for an output of {chart.shape}")
    image, mask = np.ascontiguousarray(image, np.float32), np.ascontiguousarray(mask)
    near = np.empty(image.shape, np.uint8)
    warp_kernels.mark_windows(image, mask, np.uint16(bits), near)
    least = np.float32(1 - (config or WarpConfig()).largest_lost)
    x, y, cubic = _nodes(chart)
    warp_kernels.resample(
        image, mask, np.uint16(bits), near, x, y, chart.area, cubic, _table(), least, out.image, out.coverage
    )
    if variance is None:
        return Warped(out.image, out.coverage)
    if out.variance is None:
        raise ValueError("buffers without one for the variance")
    warp_linear(variance, chart, into=out.variance)
    _times_area_squared(out.variance, chart)
    return out


def warp_linear(plane: Image, chart: CoarseMap, *, into: Image | None = None) -> Image:
    """Resample a map per pixel (coverage, variance, exposure) by bilinear interpolation; nothing is scaled.

    Parameters
    ----------
    plane : numpy.ndarray (ny, nx), float32
        NaN: not known. Such pixels are left out while they carry less than half of the weight.
    chart : CoarseMap
    into : numpy.ndarray (ny, nx), float32, optional

    Returns
    -------
    numpy.ndarray (ny, nx), float32
        NaN beyond the outermost half pixel of the input; up to there the outermost pixel counts on.
    """
    out = np.empty(chart.shape, np.float32) if into is None else into
    warp_kernels.interpolate(np.ascontiguousarray(plane, np.float32), *_nodes(chart), out)
    return out


def _nodes(chart: CoarseMap) -> tuple[Floats, Floats, Floats]:
    return np.ascontiguousarray(chart.x), np.ascontiguousarray(chart.y), warp_kernels.node_weights(chart.step)


def _times_area_squared(plane: Image, chart: CoarseMap) -> None:
    factor = np.empty(chart.shape[1], np.float32)
    for row in range(chart.shape[0]):
        warp_kernels.linear_along(chart.area, chart.step, row, factor)
        plane[row] *= factor * factor


@lru_cache(maxsize=1)
def _table() -> Image:
    return warp_kernels.lanczos_table()


def _lagrange(t: Floats) -> Floats:
    """Return the weights (N, 4) of nodes -1, 0, 1, 2 at places t (N) between nodes 0 and 1."""
    columns = [-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2]
    columns += [-(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6]
    return np.stack(columns, axis=1)
