"""Pixels that no light through the telescope can make: hits of cosmic rays and other spikes.

Laplacian edge detection (van Dokkum 2001, PASP 113, 1420) finds candidates: with L the Laplacian of the image
sampled twice as finely, negative values set to zero and binned again, a pixel is one where L / (2 sigma) is
large. The second test takes the place of that paper's fine-structure image. Whatever is seen through a PSF P
is a sum of positive sources, so for opposite neighbours at a distance r

    v <= c (left + right) / 2,    c = P(0) / P(r) = exp(4 ln 2 r^2 / FWHM^2) for a Gaussian core,

whatever the sources and wherever in the pixel: off centre each source has cosh on the right side, and the
inequality adds up over sources. A pixel that breaks it beyond the noise in some direction is not of the sky.
Star cores are safe by themselves, however crowded and undersampled, as long as the FWHM is not overestimated.
Neighbours of what was found are then tested with lower thresholds, the found pixels counting as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.cosmic_rays_kernels import (
    FWHM_TO_EXPONENT,
    Image,
    Mask,
    Places,
    candidates,
    neighbours,
    set_bits,
    spikes_among,
)
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.mesh_rows import MeshRows

Positive = Annotated[float, Field(gt=0)]


class SpikeConfig(Declaration):
    """How bright and how sharp a spike has to be."""

    sigma_clip: Positive = Field(
        6.0, description="least L / (2 sigma); in 10 million pixels of noise no seed"
    )
    sharpness_clip: Positive = Field(4.0, description="sigmas by which a pixel must break the PSF's limit")
    grow_clip: Positive = Field(2.5, description="either, for neighbours of what was found")
    narrowest: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="FWHM of the sharpest star over the FWHM given: it varies, is elongated, badly known"
    )
    growths: Annotated[int, Field(ge=0)] = Field(6, description="how often neighbours are tested")


@dataclass(frozen=True)
class Spikes:
    """What was found.

    Parameters
    ----------
    places : numpy.ndarray (N, 2), int64
        0-based (y, x) of the pixels, those found first leading.
    candidates : int
        Pixels in which the Laplacian fired.
    seeds : int
        Pixels found before any growth.
    """

    places: Places
    candidates: int
    seeds: int


def mark_spikes(
    image: Image,
    mask: Mask,
    bits: int,
    mark: int,
    noise: Mesh,
    gain: float,
    fwhm: float,
    config: SpikeConfig,
) -> Spikes:
    """Set a bit in the mask of every pixel that is sharper than the PSF.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Background subtracted; not changed.
    mask : numpy.ndarray (ny, nx), uint16
        Changed in place.
    bits : int
        A pixel with any of them is not tested and nothing is compared with it; so is one that is not finite.
    mark : int
        The bit of spikes; pixels that have it already are treated as found.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN.
    fwhm : float
        Of the PSF, pixels.
    config : SpikeConfig

    Raises
    ------
    ValueError
        If shapes do not agree, or gain or FWHM are not positive.
    """
    if not image.shape == mask.shape == noise.shape:
        raise ValueError(f"image, mask and noise of {image.shape}, {mask.shape} and {noise.shape} pixels")
    if not (gain > 0 and fwhm > 0):
        raise ValueError(f"a gain of {gain} electrons per DN, a FWHM of {fwhm} pixels")
    rows = MeshRows.of(noise)
    map_of_noise = (rows.across, rows.node, rows.weight)
    flags = (np.uint16(bits & ~mark), np.uint16(mark))
    model = (*map_of_noise, 1 / gain, (config.narrowest * fwhm) ** -2)
    fired = candidates(image, *map_of_noise, _limits(config, fwhm))
    fired = np.concatenate([fired, _border(image.shape)])
    fresh = spikes_among(image, mask, *flags, fired, *model, config.sigma_clip, config.sharpness_clip)
    set_bits(mask, fresh, flags[1])
    found = [fresh]
    for _ in range(config.growths):
        near = np.unique(neighbours(mask, flags[0] | flags[1], fresh), axis=0)
        fresh = spikes_among(image, mask, *flags, near, *model, config.grow_clip, config.grow_clip)
        if not len(fresh):
            break
        set_bits(mask, fresh, flags[1])
        found.append(fresh)
    return Spikes(np.concatenate(found), len(fired), len(found[0]))


def _limits(config: SpikeConfig, fwhm: float) -> Image:
    """Return the limits of `candidates`; no direction has less noise than the ring of straight neighbours."""
    straight, diagonal = np.exp(FWHM_TO_EXPONENT * np.array([1, 2]) / (config.narrowest * fwhm) ** 2)
    sharp = config.sharpness_clip * np.hypot(1, straight / 2)
    return np.array([8 * config.sigma_clip, sharp, straight / 2, diagonal / 2], np.float32)


def _border(shape: tuple[int, ...]) -> Places:
    """Return the outermost pixels (N, 2), for which there is no Laplacian: each of them is tested."""
    ny, nx = shape
    y, x = np.arange(1, ny - 1), np.arange(nx)
    sides = [np.column_stack([y, np.full(len(y), end)]) for end in sorted({0, nx - 1})]
    ends = [np.column_stack([np.full(nx, end), x]) for end in sorted({0, ny - 1})]
    return np.concatenate(sides + ends).astype(np.int64)
