"""Halos: the disc of scattered and reflected light around a bright star, and the bit it sets in a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.masking.ghost_geometry import Places, PlateMap
from zsds_tasks.science.masking.ghost_model import Floats, GhostModel, ring_level

Mask = NDArray[np.uint16]


def mask_halos(
    mask: Mask,
    plate: PlateMap,
    places: Places,
    flux: Floats,
    limit: float,
    model: GhostModel,
    tolerance_sigmas: float,
) -> int:
    """Set the halo bit, in place, where halos are brighter than a limit.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
        Changed in place.
    plate : PlateMap
    places : (N) complex128
        Stars in the camera frame, arcsec.
    flux : (N) float64, DN
    limit : float
        DN per square arcsecond.
    model : GhostModel
    tolerance_sigmas : float
        The disc grows by so many sigmas of its radius.

    Returns
    -------
    int
        Halos that touch the quadrant.
    """
    level = ring_level(model.halo_radius_arcsec, 0.0, model.halo_flux_ratio)
    radius = model.halo_radius_arcsec + tolerance_sigmas * model.halo_radius_sigma_arcsec
    number = 0
    for k in np.flatnonzero(flux * level > limit):
        x, y = plate.to_pixels(places[k])
        matrix = plate.derivative(float(x), float(y))
        if flag_disc(mask, float(x) - 1, float(y) - 1, matrix, radius, np.uint16(MaskBit.HALO.flag)):
            number += 1
    return number


@compiled("i8(u2[:, ::1], f8, f8, f8[:, ::1], f8, u2)", cache=True, nogil=True)
def flag_disc(mask: Mask, x: float, y: float, matrix: Floats, radius: float, bit: int) -> int:
    """Set a bit within a distance of a 0-based pixel; return how many pixels lie there.

    `matrix` (2, 2) turns pixels into the unit of `radius`.
    """
    ny, nx = mask.shape
    a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    det = abs(a * d - b * c)
    # Half widths of the box around the ellipse |matrix (dx, dy)| <= radius.
    half_x, half_y = radius * np.sqrt(b * b + d * d) / det, radius * np.sqrt(a * a + c * c) / det
    count = 0
    for row in range(max(0, int(np.ceil(y - half_y))), min(ny - 1, int(np.floor(y + half_y))) + 1):
        dy = row - y
        for column in range(max(0, int(np.ceil(x - half_x))), min(nx - 1, int(np.floor(x + half_x))) + 1):
            dx = column - x
            u, v = a * dx + b * dy, c * dx + d * dy
            if u * u + v * v <= radius * radius:
                mask[row, column] |= bit
                count += 1
    return count
