"""Saturated pixels, the columns they bleed into, and their neighbours (reference section 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import MaskBit

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Places = NDArray[np.int64]
Positive = Annotated[float, Field(gt=0)]
_FULL = MaskBit.SATURATED.flag
_BROKEN = MaskBit.LOW_RESPONSE.flag | MaskBit.HIGH_RESPONSE.flag | MaskBit.NOISY.flag | MaskBit.DEAD.flag
_BROKEN |= MaskBit.NAN.flag


class SaturationConfig(Declaration):
    """How far a bleed is followed along its column."""

    follow_above: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="of the saturation level: as full as makes no difference"
    )
    excess_sigmas: Positive = Field(
        10.0, description="of a column over the columns beside: charge left behind"
    )
    contrast: Annotated[float, Field(ge=1)] = Field(
        2.0, description="and its ratio to them: the wings of a star are smoother than that"
    )
    longest_gap: Annotated[int, Field(ge=0)] = Field(
        2, description="broken pixels passed over on the way, px"
    )
    grow: Annotated[int, Field(ge=0)] = Field(1, description="px added all around")


@dataclass(frozen=True)
class SaturationStats:
    """Pixels with the bit: of the raw counts, after following bleeds, after growing."""

    saturated: int
    followed: int
    masked: int


def mask_saturation(
    image: Image, mask: Mask, noise: Mesh, gain: float, level: float, config: SaturationConfig
) -> SaturationStats:
    """Extend bit SATURATED, which has the pixels saturated in raw counts, to bleeds and neighbours, in place.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Background subtracted; not changed.
    mask : numpy.ndarray (ny, nx), uint16
        Changed in place.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN.
    level : float
        Saturation level of the image, DN; see `ReduceStats`.
    config : SaturationConfig

    Raises
    ------
    ValueError
        If shapes do not agree, or gain or level are not positive.
    """
    if not image.shape == mask.shape == noise.shape:
        raise ValueError(f"image, mask and noise of {image.shape}, {mask.shape} and {noise.shape} pixels")
    if not (gain > 0 and level > 0):
        raise ValueError(f"a gain of {gain} electrons per DN, saturation at {level} DN")
    places = _full_pixels(mask)
    ends = _run_ends(mask, places)
    sigma = noise.at(ends[:, 1].astype(np.float64), ends[:, 0].astype(np.float64))
    limits = np.array(
        [config.follow_above * level, config.excess_sigmas, config.contrast, config.longest_gap, 1 / gain]
    )
    tails = _follow(image, mask, ends, sigma, limits)
    for y, x in tails:
        mask[y, x] |= np.uint16(_FULL)
    followed = np.concatenate([places, tails])
    grown = _grow(mask, followed, config.grow)
    return SaturationStats(len(places), len(followed), len(followed) + grown)


@compiled("i8[:, ::1](u2[:, ::1])", cache=True, nogil=True)
def _full_pixels(mask: Mask) -> Places:
    """Return 0-based (y, x) of all saturated pixels."""
    block = 64
    places = np.empty((1024, 2), np.int64)
    n = 0
    for y in range(mask.shape[0]):
        row = mask[y]
        for start in range(0, len(row), block):
            stop = min(start + block, len(row))
            bits = np.uint16(0)
            for x in range(start, stop):
                bits |= row[x]
            if not bits & _FULL:
                continue
            if n + block > len(places):
                larger = np.empty((2 * len(places), 2), np.int64)
                larger[:n] = places[:n]
                places = larger
            for x in range(start, stop):
                if row[x] & _FULL:
                    places[n, 0], places[n, 1] = y, x
                    n += 1
    return places[:n].copy()


@compiled("i8[:, ::1](u2[:, ::1], i8[:, ::1])", cache=True, nogil=True)
def _run_ends(mask: Mask, places: Places) -> Places:
    """Return (y, x, direction) of the saturated pixels whose next one in the column is not, up or down."""
    ends = np.empty((2 * len(places), 3), np.int64)
    n = 0
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        for step in (-1, 1):
            if 0 <= y + step < mask.shape[0] and not mask[y + step, x] & _FULL:
                ends[n, 0], ends[n, 1], ends[n, 2] = y, x, step
                n += 1
    return ends[:n].copy()


@compiled("f8(f4[:, ::1], u2[:, ::1], i8, i8, i8)", cache=True, nogil=True)
def _beside(image: Image, mask: Mask, y: int, first: int, step: int) -> float:
    """Return the mean of up to two usable pixels of a row, from column `first` on; infinite without any."""
    total, n = 0.0, 0
    for k in range(2):
        x = first + k * step
        if 0 <= x < image.shape[1] and not mask[y, x] & (_BROKEN | _FULL) and np.isfinite(image[y, x]):
            total += image[y, x]
            n += 1
    return max(total / n, 0.0) if n else np.inf


@compiled("i8[:, ::1](f4[:, ::1], u2[:, ::1], i8[:, ::1], f4[::1], f8[::1])", cache=True, nogil=True)
def _follow(image: Image, mask: Mask, ends: Places, sigma: Image, limits: Image) -> Places:
    """Return the pixels (y, x) that each run of saturated ones bleeds into beyond its ends.

    The columns beside are those outside the whole saturated width at the run's end, on the fainter side: a
    bleed of many columns ends raggedly, and tails next to each other must not hide each other.

    Parameters
    ----------
    limits : (5) float64
        Value taken as full, sigmas of excess, contrast, longest gap, DN per electron.
    """
    nearly_full, sigmas, contrast, gap, per_gain = limits[0], limits[1], limits[2], limits[3], limits[4]
    found = [(np.int64(0), np.int64(0)) for _ in range(0)]
    for i in range(len(ends)):
        y, x, step = ends[i, 0], ends[i, 1], ends[i, 2]
        left, right = x, x
        while left > 0 and mask[y, left - 1] & _FULL:
            left -= 1
        while right < mask.shape[1] - 1 and mask[y, right + 1] & _FULL:
            right += 1
        broken = 0
        y += step
        while 0 <= y < mask.shape[0] and broken <= gap and not mask[y, x] & _FULL:
            if mask[y, x] & _BROKEN or not np.isfinite(image[y, x]):
                broken += 1
                y += step
                continue
            v = np.float64(image[y, x])
            if v < nearly_full:
                side = min(_beside(image, mask, y, left - 1, -1), _beside(image, mask, y, right + 1, 1))
                side = side if np.isfinite(side) else 0.0
                excess = v - side
                if excess < sigmas * np.sqrt(sigma[i] ** 2 + side * per_gain) or v < contrast * side:
                    break
            broken = 0
            found.append((y, x))
            y += step
    out = np.empty((len(found), 2), np.int64)
    for i, place in enumerate(found):
        out[i, 0], out[i, 1] = place
    return out


@compiled("i8(u2[:, ::1], i8[:, ::1], i8)", cache=True, nogil=True)
def _grow(mask: Mask, places: Places, by: int) -> int:
    """Set the bit in the square around each place; return how many pixels that adds."""
    added = 0
    for i in range(len(places)):
        for y in range(max(places[i, 0] - by, 0), min(places[i, 0] + by + 1, mask.shape[0])):
            for x in range(max(places[i, 1] - by, 0), min(places[i, 1] + by + 1, mask.shape[1])):
                if not mask[y, x] & _FULL:
                    mask[y, x] |= np.uint16(_FULL)
                    added += 1
    return added
