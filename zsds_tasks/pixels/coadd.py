"""Stack images of the same sky: the weighted mean of each pixel, without samples that do not belong.

A sample is left out if it lies farther from the pixel's median than

    sqrt(clip^2 max(1.4826 MAD, sigma)^2 + slack^2 light^2)

with sigma its own expected noise, sources included, and light the brightest median (0 at least) within 2 px
along both axes. The expected noise is a floor because the MAD of a dozen samples is often far too small. The
slack leaves stars alone: in changing seeing the cores of the sharpest images stand out, and the wings of the
others. With three or four samples there is no MAD worth the name: the centre is the lower median
(what is wrong is mostly too bright), the scatter the expected one, the slack wider. One or two are all kept.

The median is exact: a sorting network (Batcher 1968, Proc. AFIPS 32, 307) on hundreds of pixels at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels import coadd_kernels

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
MAX_FRAMES = 255
LEAST_NODES = 2
FAR_PX = 1e6  # between nodes of what is the same everywhere


class CoaddConfig(Declaration):
    """When a sample is left out."""

    clip_sigma: Annotated[float, Field(gt=0)] = Field(3.5, description="from the median, in sigmas")
    slack: Annotated[float, Field(ge=0)] = Field(
        1.0, description="share of the light beside by which samples may differ anyway: seeing"
    )
    slack_few: Annotated[float, Field(ge=0)] = Field(3.0, description="the same with three or four samples")


@dataclass(frozen=True)
class StackNoise:
    """What noise each image of a stack has, and what it counts.

    Parameters
    ----------
    sky : numpy.ndarray (n, my, mx), float32
        1 sigma of blank sky of each image, in the unit of the stack, at nodes: node (i, j) is pixel
        (j step, i step). At least 2 x 2 nodes; they cover the stack.
    step : float
        Pixels between nodes.
    per_flux : numpy.ndarray (n), float32
        Variance that a unit of light adds: 1 / gain in DN, times the factor the image was scaled by.
    weight : numpy.ndarray (n), float32
        Of each image in the mean, the same in all its pixels: a weight that follows the light would make the
        PSF of bright stars another one.
    """

    sky: Image
    step: float
    per_flux: Image
    weight: Image

    def __post_init__(self) -> None:
        n = len(self.sky)
        if self.sky.ndim != 3 or min(self.sky.shape[1:]) < LEAST_NODES or not self.step > 0:
            raise ValueError(f"noise at nodes {self.sky.shape}, every {self.step} px")
        if self.per_flux.shape != (n,) or self.weight.shape != (n,):
            raise ValueError(f"{n} images, {len(self.per_flux)} gains and {len(self.weight)} weights")
        if not (np.all(self.sky > 0) and np.all(self.per_flux >= 0) and np.all(self.weight > 0)):
            raise ValueError("noise and weights are positive, variance per flux not negative")

    @classmethod
    def constant(cls, sigma: Floats, *, per_flux: Floats | None = None, weight: Floats | None = None) -> Self:
        """Make one of noises (n) that are the same all over; inverse-variance weights by default."""
        sigma = np.asarray(sigma, np.float64)
        weight = sigma**-2.0 if weight is None else np.asarray(weight)
        per_flux = np.zeros(len(sigma)) if per_flux is None else np.asarray(per_flux)
        nodes = np.repeat(sigma, 4).reshape(-1, 2, 2)
        return cls(nodes.astype(np.float32), FAR_PX, per_flux.astype(np.float32), weight.astype(np.float32))


@dataclass(frozen=True)
class Coadd:
    """What became of a stack.

    Parameters
    ----------
    mean : numpy.ndarray (ny, nx), float32
        NaN where there is no sample.
    uncertainty : numpy.ndarray (ny, nx), float32
        1 sigma, sqrt(sum w^2 sigma^2) / sum w over the samples kept, with the noise of the median's light; as
        if samples of neighbouring pixels were independent, see `zsds_tasks.pixels.warp.warp`.
    coverage : numpy.ndarray (ny, nx), int16
        How many samples were kept.
    """

    mean: Image
    uncertainty: Image
    coverage: NDArray[np.int16]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Self:
        """Make the arrays of one."""
        return cls(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int16))

    def rows(self, first: int, n: int) -> Coadd:
        """Return views of some rows."""
        part = slice(first, first + n)
        return Coadd(self.mean[part], self.uncertainty[part], self.coverage[part])


def coadd(
    frames: Image,
    noise: StackNoise,
    config: CoaddConfig | None = None,
    *,
    first_row: int = 0,
    margin: tuple[int, int] = (0, 0),
    into: Coadd | None = None,
) -> Coadd:
    """Average a stack.

    Parameters
    ----------
    frames : numpy.ndarray (n, ny, nx), float32
        Aligned and in one unit; NaN: no sample. It may be a strip of larger images.
    noise : StackNoise
    config : CoaddConfig, optional
    first_row : int
        Where the result begins in the grid of `noise`.
    margin : (before, after)
        Rows of `frames` that are not in the result but are looked at beside it; two make a strip the same as
        in the whole.
    into : Coadd, optional
        Arrays (ny, nx) that are written and returned.

    Returns
    -------
    Coadd

    Raises
    ------
    ValueError
        If there are no frames or more than 255, or shapes do not agree.
    """
    n, *shape = frames.shape
    if frames.ndim != 3 or not 1 <= n <= MAX_FRAMES:
        raise ValueError(f"a stack of shape {frames.shape}; 1 to {MAX_FRAMES} images can be stacked")
    if len(noise.sky) != n:
        raise ValueError(f"{n} images and the noise of {len(noise.sky)}")
    inner = shape[0] - sum(margin), shape[1]
    if min(margin) < 0 or inner[0] < 1:
        raise ValueError(f"margins of {margin} of {shape[0]} rows")
    out = into or Coadd.empty(inner)
    if out.mean.shape != inner:
        raise ValueError(f"arrays of {out.mean.shape} for images of {inner}")
    config = config or CoaddConfig()
    coadd_kernels.stack(
        np.ascontiguousarray(frames, np.float32),
        margin[0],
        sorting_network(n),
        np.ascontiguousarray(noise.sky, np.float32),
        float(noise.step),
        first_row,
        noise.per_flux,
        (noise.weight / noise.weight.max()).astype(np.float32),
        np.array([config.clip_sigma, config.slack, config.slack_few], np.float32),
        out.mean,
        out.uncertainty,
        out.coverage,
    )
    return out


@lru_cache(maxsize=64)
def sorting_network(n: int) -> NDArray[np.int64]:
    """Return pairs (m, 2) that sort n values if each in turn is put in order: Batcher's odd-even merges."""
    pairs = []
    length = 1
    while length < n:
        gap = length
        while gap >= 1:
            pairs += [
                (j + i, j + i + gap)
                for j in range(gap % length, n - gap, 2 * gap)
                for i in range(min(gap, n - j - gap))
                if (i + j) // (2 * length) == (i + j + gap) // (2 * length)
            ]
            gap //= 2
        length *= 2
    return np.array(pairs, np.int64).reshape(-1, 2)
