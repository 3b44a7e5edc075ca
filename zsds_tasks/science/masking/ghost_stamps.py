"""Small binned cut-outs around predicted ghosts and around bright stars: what the model is fitted to.

A bin is the median of its usable pixels, so that faint sources in it hardly count; the background that was
subtracted is added back, because a coarse mesh has swallowed a part of every ghost and most of every halo.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.masking.ghost_geometry import Floats, Places, PlateMap
from zsds_tasks.science.masking.ghost_model import GhostModel, Image, ring_level
from zsds_tasks.science.masking.ghosts import BrightStars
from zsds_tasks.science.masking.halos import Mask
from zsds_tasks.sky import healpix

MEDIAN_NOISE = 1.2533  # of a median over that of a mean
EXCLUDED = (UNUSABLE | MaskBit.DETECTION.flag) & ~(MaskBit.GHOST.flag | MaskBit.HALO.flag)
"""Bits of pixels left out of bins: all that spoils a pixel but the light that is to be measured."""


class Reflection(StrEnum):
    """Which of the two a cut-out holds."""

    GHOST = "ghost"
    HALO = "halo"


class StampConfig(Declaration):
    """Which cut-outs are kept, and how coarse they are."""

    ghost_bin_px: Annotated[int, Field(ge=2, le=64)] = Field(8, description="side of a bin, at least")
    halo_bin_px: Annotated[int, Field(ge=2, le=64)] = Field(16, description="side of a bin, at least")
    bins: Annotated[int, Field(ge=16)] = Field(
        64, description="along a side at most: larger ones are coarser"
    )
    ghost_sigmas: Annotated[float, Field(gt=0)] = Field(
        0.3, description="kept where the prior's ghost is brighter than this times the noise of a pixel"
    )
    halo_sigmas: Annotated[float, Field(gt=0)] = Field(0.2, description="likewise")
    border_arcsec: Annotated[float, Field(gt=0)] = Field(40.0, description="kept around ghosts: background")
    halo_border_arcsec: Annotated[float, Field(gt=0)] = Field(110.0, description="around halos")
    tolerance_sigmas: Annotated[float, Field(gt=0)] = Field(2.5, description="of the predicted place")
    largest_half_arcsec: Annotated[float, Field(gt=0)] = Field(560.0, description="of a cut-out")
    least_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, description="of pixels that a bin must have, and of bins that a cut-out must have"
    )
    most: Annotated[int, Field(ge=1)] = Field(4, description="of each kind on one quadrant: the brightest")


@dataclass(frozen=True)
class GhostStamp:
    """One cut-out.

    Parameters
    ----------
    kind : Reflection
    star_id : int
    flux : float
        Of the star, DN.
    star, middle : complex
        Camera frame of the star and of the middle of the cut-out, arcsec.
    axes : numpy.ndarray (2, 2), float64
        d(east, north)/d(column, row), arcsec per bin.
    noise : float
        Of a whole bin, from the sky noise of a pixel, DN per pixel.
    bin_px : int
        Side of a bin.
    values : numpy.ndarray (n, m), float32
        DN per pixel; NaN where too few pixels are usable.
    """

    kind: Reflection
    star_id: int
    flux: float
    star: complex
    middle: complex
    axes: Floats
    noise: float
    bin_px: int
    values: Image

    @property
    def bin_arcsec(self) -> float:
        """Side of a bin."""
        return float(np.sqrt(abs(np.linalg.det(self.axes))))

    @property
    def per_arcsec2(self) -> float:
        """What turns DN per pixel into DN per square arcsecond."""
        return (self.bin_px / self.bin_arcsec) ** 2

    @property
    def places(self) -> NDArray[np.complex128]:
        """Camera frame of the middle of every bin, (n, m)."""
        n, m = self.values.shape
        column, row = np.arange(m) - (m - 1) / 2, (np.arange(n) - (n - 1) / 2)[:, None]
        (a, b), (c, d) = self.axes
        return self.middle + (a * column + b * row) + 1j * (c * column + d * row)


def collect_stamps(
    image: Image,
    mask: Mask,
    level: Mesh | None,
    plate: PlateMap,
    stars: BrightStars,
    zero_point: float,
    sky_noise: float,
    prior: GhostModel,
    config: StampConfig,
) -> list[GhostStamp]:
    """Return the cut-outs of a quadrant; none where no bright star's ghost or halo falls on it.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Flattened; best with the sources subtracted.
    mask : numpy.ndarray (ny, nx), uint16
        Pixels with the bits `EXCLUDED` are left out.
    level : Mesh or None
        Background that was subtracted from the image; it is added back.
    plate : PlateMap
    stars : BrightStars
        Of the whole camera's field.
    zero_point : float
    sky_noise : float
        DN per pixel.
    prior : GhostModel
        Says where to look and how far around. The one of the configuration, not a fitted one: a fit must
        be able to find that an earlier one was wrong.
    config : StampConfig
    """
    flux = stars.flux(zero_point)
    places = plate.frame.places(stars.ra, stars.dec)
    found: list[GhostStamp] = []
    for plan in _plans(places, prior, config):
        limit = plan.sigmas * sky_noise / plate.pixel_scale_arcsec**2
        bright = np.flatnonzero((flux * plan.peak > limit) & np.isfinite(places.real))
        kept = 0
        for k in bright[np.argsort(-flux[bright], kind="stable")]:
            half = min(float(plan.half_arcsec[k]), config.largest_half_arcsec)
            bin_px = max(plan.bin_px, int(np.ceil(2 * half / plate.pixel_scale_arcsec / config.bins)))
            box = _box(plate, complex(plan.centres[k]), half, bin_px)
            least = config.least_share * (2 * half / plate.pixel_scale_arcsec / bin_px) ** 2
            if kept == config.most or box is None or box[2] * box[3] < least:
                continue
            values, middle, axes = _cut(image, mask, level, plate, box, bin_px, config.least_share)
            if np.count_nonzero(np.isfinite(values)) >= least:
                star_id = int(healpix.index_of(stars.ra[k : k + 1], stars.dec[k : k + 1])[0])
                star = (star_id, float(flux[k]), complex(places[k]))
                error = MEDIAN_NOISE * sky_noise / bin_px
                found.append(GhostStamp(plan.kind, *star, middle, axes, error, bin_px, values))
                kept += 1
    return found


@dataclass(frozen=True)
class _Plan:
    """Where the cut-outs of a kind would lie, how large (N each), and how bright their light is expected."""

    kind: Reflection
    centres: Places
    half_arcsec: Floats
    peak: float
    sigmas: float
    bin_px: int


def _plans(places: Places, prior: GhostModel, config: StampConfig) -> tuple[_Plan, _Plan]:
    halo_half = np.full(len(places), prior.halo_radius_arcsec + config.halo_border_arcsec)
    halo_level = ring_level(prior.halo_radius_arcsec, 0.0, prior.halo_flux_ratio)
    sigma = prior.position_sigma(places)
    ghost_half = prior.outer_arcsec + config.border_arcsec + config.tolerance_sigmas * sigma
    return (
        _Plan(Reflection.HALO, places, halo_half, halo_level, config.halo_sigmas, config.halo_bin_px),
        _Plan(
            Reflection.GHOST,
            prior.ghost_places(places),
            ghost_half,
            prior.shape.peak,
            config.ghost_sigmas,
            config.ghost_bin_px,
        ),
    )


def _box(
    plate: PlateMap, centre: complex, half_arcsec: float, bin_px: int
) -> tuple[int, int, int, int] | None:
    """Return first column and row (0-based) and numbers of bins, cut to the image; None if beside it."""
    x, y = (float(value) - 1 for value in plate.to_pixels(centre))
    half, (ny, nx) = half_arcsec / plate.pixel_scale_arcsec, plate.shape
    x0, y0 = max(0, int(np.ceil(x - half))), max(0, int(np.ceil(y - half)))
    columns = (min(nx, int(np.floor(x + half)) + 1) - x0) // bin_px
    rows = (min(ny, int(np.floor(y + half)) + 1) - y0) // bin_px
    return (x0, y0, rows, columns) if rows >= 4 and columns >= 4 else None


def _cut(
    image: Image,
    mask: Mask,
    level: Mesh | None,
    plate: PlateMap,
    box: tuple[int, int, int, int],
    bin_px: int,
    least_share: float,
) -> tuple[Image, complex, Floats]:
    x0, y0, rows, columns = box
    values = np.empty((rows, columns), np.float32)
    least = max(1, round(least_share * bin_px**2))
    median_bins(image, mask, EXCLUDED, y0, x0, bin_px, least, values)
    if level is not None:
        x = x0 + (np.arange(columns) + 0.5) * bin_px - 0.5
        y = y0 + (np.arange(rows) + 0.5) * bin_px - 0.5
        values += level.at(np.tile(x, rows), np.repeat(y, columns)).reshape(values.shape)
    centre = (x0 + columns * bin_px / 2 + 0.5, y0 + rows * bin_px / 2 + 0.5)
    middle = complex(plate.to_frame(np.float64(centre[0]), np.float64(centre[1])))
    return values, middle, plate.derivative(*centre) * bin_px


@compiled("void(f4[:, ::1], u2[:, ::1], i8, i8, i8, i8, i8, f4[:, ::1])", cache=True, nogil=True)
def median_bins(
    image: Image, mask: Mask, bits: int, first_row: int, first_column: int, side: int, least: int, out: Image
) -> None:
    """Write the median of the usable pixels of square bins; NaN where fewer than `least` are usable."""
    kept = np.empty(side * side, np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            n = 0
            for row in range(first_row + i * side, first_row + (i + 1) * side):
                for column in range(first_column + j * side, first_column + (j + 1) * side):
                    value = image[row, column]
                    if not mask[row, column] & bits and np.isfinite(value):
                        kept[n] = value
                        n += 1
            out[i, j] = np.nan
            if n >= least:
                kept[:n].sort()
                out[i, j] = np.float32(0.5) * (kept[(n - 1) // 2] + kept[n // 2])
