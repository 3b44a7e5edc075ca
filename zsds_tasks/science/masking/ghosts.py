"""Ghosts: predicted from bright stars anywhere in the camera's field, and the bits they set in a mask.

A ghost lands on the other side of the optical axis, so the stars must be those of the whole field. Only where
the predicted surface brightness exceeds a share of the sky noise is a pixel masked, and so much beyond as the
prediction may be off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.polynomial.polynomial import polyval
from pydantic import Field
from scipy.ndimage import distance_transform_edt

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.masking.ghost_geometry import Places, PlateMap
from zsds_tasks.science.masking.ghost_model import Floats, GhostMap, GhostModel, Image
from zsds_tasks.science.masking.halos import Mask, mask_halos


class ReflectionMasking(Declaration):
    """Where ghosts and halos are masked."""

    ghost_sigmas: Annotated[float, Field(gt=0)] = Field(
        1.0, description="masked where brighter than this times the sky noise of a pixel"
    )
    halo_sigmas: Annotated[float, Field(gt=0)] = Field(
        0.3,
        description="likewise; 0.3 is a star of magnitude 6.5 in a dark r image: ZTF's limit",
    )
    tolerance_sigmas: Annotated[float, Field(ge=0)] = Field(
        2.5, description="the mask grows by so many sigmas of place and radius: 96 of 100 places"
    )
    magnitude_tolerance: Annotated[float, Field(ge=0)] = Field(
        0.3, description="stars are taken this much brighter: catalogue magnitudes are of another band"
    )
    margin_arcsec: Annotated[float, Field(ge=0)] = Field(4.0, description="and by this: soft edges")


@dataclass(frozen=True)
class BrightStars:
    """Stars that may make ghosts, (N) each.

    Parameters
    ----------
    ra, dec : float64, degrees
        Of the whole camera's field.
    mag : float64
        In the filter of the image.
    """

    ra: Floats
    dec: Floats
    mag: Floats

    def __post_init__(self) -> None:
        sizes = {np.shape(a) for a in (self.ra, self.dec, self.mag)}
        if len(sizes) != 1 or len(sizes.pop()) != 1:
            raise ValueError("BrightStars needs columns of one length")

    def __len__(self) -> int:
        return len(self.mag)

    def flux(self, zero_point: float) -> Floats:
        """Return their light, DN."""
        return np.asarray(10 ** (-0.4 * (self.mag - zero_point)))


@dataclass(frozen=True)
class ReflectionCounts:
    """What was masked on a quadrant: ghosts and halos that touch it, and their pixels."""

    n_ghosts: int
    n_halos: int
    ghost_pixels: int
    halo_pixels: int


def filter_magnitudes(g_mag: Floats, bp_rp: Floats, coefficients: Sequence[float]) -> Floats:
    """Return magnitudes in a filter from Gaia's: G minus a polynomial of BP - RP.

    Stars without a colour (NaN) are given the median one, or 0.8 if none has any.
    """
    known = np.isfinite(bp_rp)
    middle = float(np.median(bp_rp[known])) if known.any() else 0.8
    return np.asarray(g_mag - polyval(np.where(known, bp_rp, middle), np.asarray(coefficients)))


def rough_zero_point(flux_dn: Floats, mag: Floats) -> float:
    """Return the zero point (mag) of matched stars, by the median; before the photometric calibration.

    Parameters
    ----------
    flux_dn : (N) float64, DN
        Those not positive are left out.
    mag : (N) float64
        Of the same stars, in the filter.

    Raises
    ------
    ValueError
        If no star is left.
    """
    good = (flux_dn > 0) & np.isfinite(flux_dn) & np.isfinite(mag)
    if not good.any():
        raise ValueError("no star with a flux and a magnitude: no zero point")
    return float(np.median(mag[good] + 2.5 * np.log10(flux_dn[good])))


def mask_reflections(
    mask: Mask,
    plate: PlateMap,
    stars: BrightStars,
    zero_point: float,
    sky_noise: float,
    model: GhostModel,
    config: ReflectionMasking,
) -> ReflectionCounts:
    """Set the bits of ghosts and halos in a mask, in place.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
        Changed in place.
    plate : PlateMap
        Of `zsds_tasks.science.masking.ghost_geometry.plate_map`.
    stars : BrightStars
        Of the whole camera's field.
    zero_point : float
        mag, for fluxes in DN of the flattened image.
    sky_noise : float
        DN per pixel.
    model : GhostModel
    config : ReflectionMasking

    Raises
    ------
    ValueError
        If the mask has another shape than the plate, or noise or zero point are no usable numbers.
    """
    if mask.shape != plate.shape:
        raise ValueError(f"a mask of {mask.shape} for a quadrant of {plate.shape}")
    if not (np.isfinite(zero_point) and np.isfinite(sky_noise) and sky_noise > 0):
        raise ValueError(f"zero point {zero_point} and sky noise {sky_noise} predict no ghost")
    if len(stars) == 0:
        return ReflectionCounts(0, 0, 0, 0)
    flux = stars.flux(zero_point + config.magnitude_tolerance)
    noise = sky_noise / plate.pixel_scale_arcsec**2
    places = plate.frame.places(stars.ra, stars.dec)
    seen = np.isfinite(places.real)
    places, flux = places[seen], flux[seen]
    sigmas = config.tolerance_sigmas
    n_halos = mask_halos(mask, plate, places, flux, config.halo_sigmas * noise, model, sigmas)
    n_ghosts = mask_ghosts(mask, plate, places, flux, config.ghost_sigmas * noise, model, config)
    counted = [
        int(np.count_nonzero(mask & bit.flag)) if number else 0
        for bit, number in ((MaskBit.GHOST, n_ghosts), (MaskBit.HALO, n_halos))
    ]
    return ReflectionCounts(n_ghosts, n_halos, *counted)


def mask_ghosts(
    mask: Mask,
    plate: PlateMap,
    places: Places,
    flux: Floats,
    limit: float,
    model: GhostModel,
    config: ReflectionMasking,
) -> int:
    """Set the ghost bit, in place, where ghosts of stars are brighter than a limit; see `mask_halos`."""
    bright = np.flatnonzero(flux * model.shape.peak > limit)
    if len(bright) == 0:
        return 0
    centres = model.ghost_places(places[bright])
    reaches = config.tolerance_sigmas * model.position_sigma(places[bright]) + config.margin_arcsec
    x, y = plate.to_pixels(centres)
    number = 0
    for k, star in enumerate(bright):
        size = (model.shape.half_arcsec + reaches[k] + model.shape.cell_arcsec) / plate.pixel_scale_arcsec
        if _is_beside(plate.shape, float(x[k]), float(y[k]), 1.1 * size):
            continue
        distance = _distances(model.shape, limit / flux[star], reaches[k])
        matrix = plate.derivative(float(x[k]), float(y[k])) / model.shape.cell_arcsec
        reach = reaches[k] / model.shape.cell_arcsec
        bit = np.uint16(MaskBit.GHOST.flag)
        if flag_near(mask, float(x[k]) - 1, float(y[k]) - 1, matrix, distance, reach, bit):
            number += 1
    return number


def _is_beside(shape: tuple[int, int], x: float, y: float, reach_px: float) -> bool:
    ny, nx = shape
    return not (1 - reach_px < x < nx + reach_px and 1 - reach_px < y < ny + reach_px)


def _distances(shape: GhostMap, level: float, reach_arcsec: float) -> Image:
    """Return how far each cell of a map, widened by the reach, is from the next above a level, in cells."""
    pad = int(np.ceil(reach_arcsec / shape.cell_arcsec)) + 1
    faint = np.pad(shape.values <= level, pad, constant_values=True)
    return np.ascontiguousarray(distance_transform_edt(faint), np.float32)


@compiled("i8(u2[:, ::1], f8, f8, f8[:, ::1], f4[:, ::1], f8, u2)", cache=True, nogil=True)
def flag_near(mask: Mask, x: float, y: float, matrix: Floats, distance: Image, reach: float, bit: int) -> int:
    """Set a bit where a map of distances, centred on a 0-based pixel, is within reach; return how many.

    `matrix` (2, 2) turns pixels into cells of the map, whose rows go north and columns east.
    """
    ny, nx = mask.shape
    half_n, half_e = distance.shape[0] // 2, distance.shape[1] // 2
    a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    det = abs(a * d - b * c)
    # Half widths of the box, in pixels, that holds the whole map.
    box_x = (abs(d) * (half_e + 0.5) + abs(b) * (half_n + 0.5)) / det
    box_y = (abs(c) * (half_e + 0.5) + abs(a) * (half_n + 0.5)) / det
    count = 0
    for row in range(max(0, int(np.ceil(y - box_y))), min(ny - 1, int(np.floor(y + box_y))) + 1):
        dy = row - y
        for column in range(max(0, int(np.ceil(x - box_x))), min(nx - 1, int(np.floor(x + box_x))) + 1):
            dx = column - x
            i = int(np.floor(c * dx + d * dy + 0.5)) + half_n
            j = int(np.floor(a * dx + b * dy + 0.5)) + half_e
            inside = 0 <= i < distance.shape[0] and 0 <= j < distance.shape[1]
            if inside and distance[i, j] <= reach:
                mask[row, column] |= bit
                count += 1
    return count
