"""Light of bright stars where it does not belong: halos around them and ghosts across the optical axis.

A halo (reference 3.9) is a disc of fixed radius on the star. A ghost is a ring, the out-of-focus image of the
pupil, at c + R (2 p0 - p): the star's place p reflected through the optical axis p0, scaled by R and shifted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.products import Floats, Integers, Kind, Sources

Positive = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0, le=0.1)]


class ReflectionConfig(Declaration):
    """Geometry and strength of halos and ghosts, in the camera frame."""

    brighter_than_mag: float = Field(8.0, description="stars fainter than this have neither")
    axis_arcsec: tuple[float, float] = Field((40.0, -25.0), description="optical axis p0: east, north")
    offset_arcsec: tuple[float, float] = Field((12.0, 8.0), description="c: east, north")
    scale: Positive = Field(0.98, description="R")
    ghost_outer_arcsec: Positive = 65.0
    ghost_inner_arcsec: Positive = 27.0
    ghost_flux_ratio: Ratio = 5e-4
    halo_radius_arcsec: Positive = 367.0
    halo_flux_ratio: Ratio = 8e-3


@dataclass(frozen=True)
class Ghosts:
    """Ghosts of one exposure: centres in the camera frame (arcsec), flux, and whose they are."""

    object_id: Integers
    east: Floats
    north: Floats
    electrons: Floats


def bright_stars(sources: Sources, config: ReflectionConfig) -> Sources:
    """Return the sources that make halos and ghosts."""
    is_star = (sources.kind == Kind.STAR) | (sources.kind == Kind.VARIABLE)
    return sources.take(np.flatnonzero(is_star & (sources.mag < config.brighter_than_mag)))


def ghosts(stars: Sources, config: ReflectionConfig) -> Ghosts:
    """Return the ghost of every star given."""
    (axis_east, axis_north), (shift_east, shift_north) = config.axis_arcsec, config.offset_arcsec
    return Ghosts(
        stars.object_id,
        shift_east + config.scale * (2 * axis_east - stars.east),
        shift_north + config.scale * (2 * axis_north - stars.north),
        stars.electrons * config.ghost_flux_ratio,
    )
