"""Science minus reference: masks joined, sky and fluxes matched, subtracted (reference section 6.1)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.subtraction import Buffers, Subtraction
from zsds_tasks.pixels.zogy import Frame
from zsds_tasks.pixels.zogy_psf import Psf
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.difference.align import AlignConfig, Alignment, StarList, align
from zsds_tasks.science.difference.background import LevelConfig, level_left, match_background
from zsds_tasks.science.difference.engines import EngineConfig, engine_of

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Share = Annotated[float, Field(gt=0, le=1)]


class DifferenceConfig(Declaration):
    """How a reference is subtracted."""

    align: AlignConfig = AlignConfig()
    level: LevelConfig = LevelConfig()
    engine: EngineConfig = EngineConfig()
    units: Literal["science", "reference"] = Field(
        "science", description="whose DN, and so whose zero point, the difference has"
    )
    bits: Annotated[int, Field(ge=0, lt=1 << 16)] = Field(UNUSABLE, description="bits of unusable pixels")
    least_coverage: Annotated[float, Field(ge=0)] = Field(
        0.5, description="of the reference, frames; under it there is no reference"
    )
    least_overlap: Share = Field(0.5, description="of the pixels that must be usable in both")


@dataclass(frozen=True)
class Side:
    """One of both images on the grid of the science image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        DN, without its background; NaN where there is nothing.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN; of a co-add that of all its frames together.
    psf : Psf
        Places are 0-based.
    zero_point : float, mag
    stars : StarList
        For the alignment.
    mask : numpy.ndarray (ny, nx), uint16, optional
    coverage : numpy.ndarray (ny, nx), float32, optional
        Frames at each pixel.
    uncertainty : numpy.ndarray (ny, nx), float32, optional
        1 sigma of each pixel, DN, in place of that from noise and gain.
    """

    image: Image = field(repr=False)
    noise: Mesh = field(repr=False)
    gain: float
    psf: Psf = field(repr=False)
    zero_point: float
    stars: StarList = field(repr=False)
    mask: Mask | None = field(default=None, repr=False)
    coverage: Image | None = field(default=None, repr=False)
    uncertainty: Image | None = field(default=None, repr=False)

    def frame(self) -> Frame:
        """Return what engines take, not scaled."""
        return Frame(self.image, self.noise, self.gain, self.psf, uncertainty=self.uncertainty)


@dataclass(frozen=True)
class DifferenceImage:
    """Science minus reference, with what was done to make it.

    Parameters
    ----------
    subtraction : Subtraction
        D, S_corr, 1 sigma of D, P_D.
    mask : numpy.ndarray (ny, nx), uint16
        Of the science image; `MaskBit.NAN` also where there is no usable reference.
    zero_point : float
        Of the difference, mag: a flux f has the magnitude zero_point - 2.5 log10(f).
    alignment : Alignment
    level : Mesh
        Background of the science image over the reference, taken off, DN of the science image.
    overlap : float
        Share of the pixels usable in both.
    engine, units : str
        As configured.
    """

    subtraction: Subtraction
    mask: Mask = field(repr=False)
    zero_point: float
    alignment: Alignment
    level: Mesh = field(repr=False)
    overlap: float
    engine: str
    units: str

    @property
    def image(self) -> Image:
        """D, DN, NaN where unusable."""
        return self.subtraction.difference


def subtract(
    science: Side,
    reference: Side,
    config: DifferenceConfig,
    buffers: Buffers | None = None,
    *,
    alignment: Alignment | None = None,
    subject: str = "",
) -> DifferenceImage:
    """Subtract a reference that lies on the grid of the science image.

    Parameters
    ----------
    science, reference : Side
        Not changed.
    config : DifferenceConfig
    buffers : Buffers, optional
    alignment : Alignment, optional
        Known already; by default measured here. If `must_shift` is set the caller should resample the
        reference with the offset and come again.
    subject : str
        Names the image in errors.

    Returns
    -------
    DifferenceImage

    Raises
    ------
    UnusableInputError
        If too few pixels are usable in both images.
    ValueError
        If the shapes differ.
    """
    shape = (science.image.shape[0], science.image.shape[1])
    if reference.image.shape != shape:
        raise ValueError(f"a science image of {shape}, a reference of {reference.image.shape}")
    mask = join_masks(science, reference, config)
    overlap = float(np.count_nonzero((mask & np.uint16(config.bits)) == 0)) / mask.size
    if overlap < config.least_overlap:
        raise UnusableInputError(
            f"{overlap:.1%} of the pixels are usable in both images, under {config.least_overlap:.0%}",
            subject=subject,
            remedy="look at the pointing and at the masks; build a reference that covers the image",
            cause="overlap",
        )
    if alignment is None:
        zero_points = (science.zero_point, reference.zero_point)
        alignment = align(science.stars, reference.stars, zero_points, shape, config.align)
    new, ref = scaled(science.frame(), reference.frame(), alignment.factor, config.units)
    level = match_background(new, ref, mask, config.bits, config.level)
    errors = (alignment.sigma_x, alignment.sigma_y)
    engine = engine_of(config.engine)
    found = engine(replace(new, level=level), ref, mask, config.bits, errors, buffers)
    for _ in range(config.level.rounds):
        left = level_left(found.difference, float(np.median(found.noise)), config.level)
        if left is None:
            break
        level = replace(level, values=level.values + left.values / np.float32(new.scale[0]))
        found = engine(replace(new, level=level), ref, mask, config.bits, errors, buffers)
    zero_point = science.zero_point if config.units == "science" else reference.zero_point
    return DifferenceImage(
        found, mask, zero_point, alignment, level, overlap, config.engine.name, config.units
    )


def join_masks(science: Side, reference: Side, config: DifferenceConfig) -> Mask:
    """Return the mask of the difference (ny, nx) uint16.

    Bits of the science image stay. `MaskBit.NAN` is set where either image has no finite value, the
    reference's mask has an unusable bit, or its coverage is too small.
    """
    nothing = ~np.isfinite(science.image)
    nothing |= ~np.isfinite(reference.image)
    if reference.mask is not None:
        nothing |= (reference.mask & np.uint16(config.bits)) != 0
    if reference.coverage is not None:
        nothing |= ~(reference.coverage >= config.least_coverage)
    mask = np.zeros(nothing.shape, np.uint16) if science.mask is None else science.mask.copy()
    mask[nothing] |= np.uint16(MaskBit.NAN.flag)
    return mask


def scaled(new: Frame, ref: Frame, factor: tuple[float, float, float], units: str) -> tuple[Frame, Frame]:
    """Return both frames on one flux scale.

    Parameters
    ----------
    new, ref : Frame
    factor : (f, fx, fy)
        See `Alignment`.
    units : "science" or "reference"
        Whose DN they have then.
    """
    if units == "reference":
        return replace(new, scale=factor), ref
    f, fx, fy = factor
    # To first order, as the factor itself is.
    return new, replace(ref, scale=(1 / f, -fx / f**2, -fy / f**2))
