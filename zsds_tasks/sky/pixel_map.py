"""From the pixels of one image to those of another by way of the sky; and the grid that covers several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.sky import tangent
from zsds_tasks.sky.wcs import ARCSEC_PER_DEGREE, Wcs

Floats = NDArray[np.float64]
Shape = tuple[int, int]
EDGE_POINTS = 17  # along each side of a footprint: sides are curved by the distortion


def pixel_map(output: Wcs, given: Wcs) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """Return the function from 0-based pixels of an output grid to 0-based pixels of a given image.

    Parameters
    ----------
    output, given : Wcs

    Returns
    -------
    callable
        (x, y) float64 of any shape to (x, y) float64 of the same; NaN where the image has no such place.
        `zsds_tasks.pixels.warp.CoarseMap.of` takes it.
    """

    def place(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        found = given.sky_to_pixel(*output.pixel_to_sky(x + 1.0, y + 1.0))
        return found[0] - 1.0, found[1] - 1.0

    return place


def north_up_grid(
    footprints: Sequence[tuple[Wcs, Shape]], *, scale_arcsec: float, margin_px: int = 0
) -> tuple[Wcs, Shape]:
    """Return a plain TAN grid, north up and east to the left, that covers images.

    The tangent point is the middle of the rectangle that the images fill, and lies at the middle of the grid.

    Parameters
    ----------
    footprints : sequence of (Wcs, (ny, nx))
        At least one.
    scale_arcsec : float
        Of its pixels.
    margin_px : int
        Added on every side.

    Returns
    -------
    Wcs, (ny, nx)

    Raises
    ------
    ValueError
        If there are no footprints, or they lie 90 degrees or more apart.
    """
    if not footprints:
        raise ValueError("a grid that covers nothing")
    edges = [wcs.pixel_to_sky(*_outline(shape)) for wcs, shape in footprints]
    ra, dec = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    wcs, (ny, nx) = footprints[0]
    first = wcs.pixel_to_sky([(nx + 1) / 2], [(ny + 1) / 2])
    centre = float(first[0][0]), float(first[1][0])
    for _ in range(3):  # moving the tangent point turns the rectangle by a second-order angle
        east, north = tangent.project(ra, dec, centre)
        if not (np.isfinite(east).all() and np.isfinite(north).all()):
            raise ValueError("footprints on opposite sides of the sky")
        middle = tangent.deproject(_middle(east), _middle(north), centre)
        centre = float(middle[0]), float(middle[1])
    east, north = tangent.project(ra, dec, centre)
    shape = _side(north, scale_arcsec, margin_px), _side(east, scale_arcsec, margin_px)
    return _plain(centre, shape, scale_arcsec), shape


def overlap(output: Wcs, shape: Shape, given: Wcs, given_shape: Shape, points: int = 33) -> float:
    """Return the share of an output grid that lies in a given image, from points x points places."""
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, points), np.linspace(0, shape[0] - 1, points))
    x, y = pixel_map(output, given)(x, y)
    inside = (x >= -0.5) & (x < given_shape[1] - 0.5) & (y >= -0.5) & (y < given_shape[0] - 0.5)
    return float(inside.mean())


def _outline(shape: Shape) -> tuple[Floats, Floats]:
    """Return FITS pixels along the outer edges of an image."""
    along_x = np.linspace(0.5, shape[1] + 0.5, EDGE_POINTS)
    along_y = np.linspace(0.5, shape[0] + 0.5, EDGE_POINTS)
    low, high = np.full(EDGE_POINTS, 0.5), np.ones(EDGE_POINTS)
    x = np.concatenate([along_x, along_x, low, high * (shape[1] + 0.5)])
    y = np.concatenate([low, high * (shape[0] + 0.5), along_y, along_y])
    return x, y


def _middle(values: Floats) -> float:
    return float(values.min() + values.max()) / 2


def _side(values: Floats, scale_arcsec: float, margin_px: int) -> int:
    return math.ceil(round(float(np.ptp(values)) / scale_arcsec, 6)) + 2 * margin_px


def _plain(centre: tuple[float, float], shape: Shape, scale_arcsec: float) -> Wcs:
    scale = scale_arcsec / ARCSEC_PER_DEGREE
    return Wcs(
        crval=centre,
        crpix=((shape[1] + 1) / 2, (shape[0] + 1) / 2),
        cd=((-scale, 0.0), (0.0, scale)),
        east=((0.0, 0.0), (1.0, 0.0)),
        north=((0.0, 1.0), (0.0, 0.0)),
    )
