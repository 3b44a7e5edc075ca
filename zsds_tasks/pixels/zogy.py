"""Proper image subtraction of a whole frame, in overlapping tiles, the PSFs of each tile its own.

Algorithm: Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27 (reference section 6.4). Tiles are filtered with what lies
around them, and only their cores are kept; beyond the frame there is nothing. So nothing wraps around.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import fft

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.subtraction import Buffers, Subtraction, Tiles
from zsds_tasks.pixels.zogy_load import GOOD, load_frame, punch_holes
from zsds_tasks.pixels.zogy_psf import Psf, PsfPair, difference_model, difference_steps, pair_at
from zsds_tasks.pixels.zogy_tile import MARGIN, TileWork

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
NOTHING = np.empty((0, 0), np.float32)
LEAST_TILE_PX = 128


class ZogyConfig(Declaration):
    """How frames are subtracted."""

    tile_px: Annotated[int, Field(ge=LEAST_TILE_PX)] = Field(
        640, description="about the side of a tile's core"
    )
    least_tiles: Annotated[int, Field(ge=1)] = Field(
        3, description="along a side, none under 128 px: the PSF varies over small frames as over large"
    )
    overlap_px: Annotated[int, Field(ge=MARGIN)] = Field(
        32, description="around the core, on each side: what the filters smear"
    )
    stamp_px: Annotated[int, Field(ge=5, le=63)] = Field(25, description="side of the PSFs' stamps; odd")
    floor: Annotated[float, Field(gt=0)] = Field(
        1e-12, description="least den^2, in units of its value at frequency zero"
    )
    psf_error: Annotated[float, Field(ge=0)] = Field(
        0.0075, description="relative error of the PSFs: so much of what both frames share counts as noise"
    )
    alias_px: Annotated[float, Field(ge=0)] = Field(
        0.55,
        description="error of the registration that coarse sampling adds, over the transform of the sharper "
        "PSF at the highest frequency",
    )
    slopes: Literal["both", "common"] = Field(
        "common",
        description="slopes of the scores that make the noise of the registration: both, as published, or "
        "twice the gentler of the two: a new source is not misplaced against the reference",
    )
    hole_share: Annotated[float, Field(ge=0)] = Field(
        0.5, description="of the light a hole hides that counts as noise around it"
    )
    hole_grow_px: Annotated[int, Field(ge=0)] = Field(1, description="by which holes grow")
    bright_hole_sigma: Annotated[float, Field(gt=0)] = Field(
        300.0, description="a hole that hides more, in noise of the difference, is a bright one"
    )
    bright_hole_grow_px: Annotated[int, Field(ge=0)] = Field(8, description="by which bright holes grow")


@dataclass(frozen=True)
class Frame:
    """One of both images, and how its light becomes that of the difference.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Registered to the other, DN; NaN where there is nothing.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN: noise of the sources' light.
    psf : Psf
    scale : (f, fx, fy)
        The image is multiplied by f + fx u + fy v, with u, v = -1 to 1 across the frame.
    level : Mesh, optional
        Subtracted before, DN.
    uncertainty : numpy.ndarray (ny, nx), float32, optional
        1 sigma of each pixel, DN, in place of that from `noise` and `gain`.
    """

    image: Image
    noise: Mesh
    gain: float
    psf: Psf
    scale: tuple[float, float, float] = (1.0, 0.0, 0.0)
    level: Mesh | None = None
    uncertainty: Image | None = None

    def factor(self, x: float, y: float) -> float:
        """Return the scale at a 0-based place."""
        ny, nx = self.image.shape
        u, v = (2 * x + 1) / nx - 1, (2 * y + 1) / ny - 1
        return self.scale[0] + self.scale[1] * u + self.scale[2] * v

    def load(self, y0: int, x0: int, out: Image, variance: Image) -> None:
        """Write the tile that begins at row y0, column x0, scaled, and its variances."""
        level = (self.level.values, self.level.cell) if self.level is not None else (NOTHING, 1)
        load_frame(
            self.image,
            NOTHING if self.uncertainty is None else self.uncertainty,
            self.noise.values,
            float(self.noise.cell),
            level[0],
            float(level[1]),
            1.0 / self.gain,
            np.array(self.scale, np.float64),
            y0,
            x0,
            out,
            variance,
        )


def subtract_frames(
    new: Frame,
    ref: Frame,
    mask: Mask,
    bits: int,
    registration: tuple[float, float],
    config: ZogyConfig,
    buffers: Buffers | None = None,
) -> Subtraction:
    """Subtract a reference from a new frame.

    Parameters
    ----------
    new, ref : Frame
        Of one shape.
    mask : numpy.ndarray (ny, nx), uint16
        Of the difference: what is unusable in either frame.
    bits : int
        A pixel with any of them, or without a finite value in either frame, is a hole: it counts as 0 in
        both, is NaN in the result, and so are its neighbours.
    registration : (sigma_x, sigma_y), px
        1-sigma errors of the registration.
    config : ZogyConfig
    buffers : Buffers, optional

    Returns
    -------
    Subtraction

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    shape = (new.image.shape[0], new.image.shape[1])
    if any(part.shape != shape for part in (ref.image, mask)):
        raise ValueError(f"a frame of {shape}, a reference of {ref.image.shape}, a mask of {mask.shape}")
    out = buffers or Buffers.of(shape)
    wanted = min(config.tile_px, max(LEAST_TILE_PX, min(shape) // config.least_tiles))
    tiles, stamp = Tiles.of(shape, wanted), config.stamp_px
    side = [
        int(fft.next_fast_len(min(core, n) + 2 * config.overlap_px, real=True))
        for core, n in zip(tiles.core, shape, strict=True)
    ]
    side[1] = _even_fast(side[1])
    work = TileWork((side[0], side[1]), stamp)
    pairs: list[PsfPair] = []
    for k in range(len(tiles)):
        place = tiles.middle(k)
        sigmas = (_typical(new, tiles, k), _typical(ref, tiles, k))
        pair = pair_at(new.psf, ref.psf, place, sigmas, stamp, config.floor)
        _subtract_one(new, ref, (mask, bits), registration, config, tiles.core_of(k), work, pair, out)
        pairs.append(pair)
    return Subtraction(
        out.difference,
        out.score,
        out.sigma,
        tiles,
        _difference_psfs(new.psf, pairs, tiles),
        np.array([pair.noise for pair in pairs]),
        np.array([pair.flux_score() for pair in pairs]),
    )


def _difference_psfs(psf: Psf, pairs: list[PsfPair], tiles: Tiles) -> tuple[PsfModel, ...]:
    steps = max(difference_steps(pair) for pair in pairs)
    return tuple(difference_model(psf, pair, tiles.middle(k), steps) for k, pair in enumerate(pairs))


def _subtract_one(
    new: Frame,
    ref: Frame,
    unusable: tuple[Mask, int],
    registration: tuple[float, float],
    config: ZogyConfig,
    core: tuple[slice, slice],
    work: TileWork,
    pair: PsfPair,
    out: Buffers,
) -> None:
    """Fill the core of one tile."""
    border = config.overlap_px
    y0, x0 = core[0].start - border, core[1].start - border
    new.load(y0, x0, work.new, work.new_variance)
    ref.load(y0, x0, work.ref, work.ref_variance)
    bright = config.bright_hole_sigma * pair.noise
    images = (work.new, work.ref, work.new_variance, work.ref_variance)
    worst = punch_holes(*unusable, y0, x0, *images, config.hole_share, bright, work.marks)
    # A tile may reach beyond what its overlap needs: what lies there would be filtered for nothing.
    parts = work.transform(pair)
    grow = (config.hole_grow_px, config.bright_hole_grow_px, max(worst, GOOD))
    x, y = (math.hypot(s, config.alias_px * a) for s, a in zip(registration, pair.aliasing, strict=True))
    terms = (x, y, config.psf_error, float(config.slopes == "common"))
    outs = (out.difference[core], out.score[core], out.sigma[core])
    work.finish(parts, pair.variance_kernels(), terms, grow, (border, border), outs)


def _typical(frame: Frame, tiles: Tiles, k: int) -> float:
    """Return the noise of blank sky of a scaled frame in a tile: root mean square over nine places."""
    rows, columns = tiles.core_of(k)
    x, y = np.meshgrid(*(np.linspace(s.start, s.stop - 1, 3) for s in (columns, rows)))
    noise = frame.noise.at(x.ravel(), y.ravel()).astype(np.float64)
    return float(np.sqrt(np.mean(noise**2))) * frame.factor(*tiles.middle(k))


def _even_fast(n: int) -> int:
    while n % 2:
        n = int(fft.next_fast_len(n + 1, real=True))
    return n
